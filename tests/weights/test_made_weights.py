"""Generated weights as values: given back to a call, used by an adapted copy, and made into a module of their own."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.func import functional_call

import hypernetworks as hn

from .targets import GENERATORS, C, close, mlp, shake

B = 4


def drawn(*samples):
    return torch.randn(*samples, C, dtype=torch.float64)


class Tied(nn.Module):
    """A tied table and head, a norm with running statistics, and a layer that is not generated."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 5, dtype=torch.float64)
        self.norm = nn.BatchNorm1d(5, dtype=torch.float64)
        self.other = nn.Linear(5, 5, dtype=torch.float64)
        self.head = nn.Linear(5, 7, dtype=torch.float64)
        self.head.weight = self.table.weight

    def forward(self, tokens):
        return self.head(self.other(self.norm(self.table(tokens))))


def tied():
    target = Tied()
    net = hn.HyperNetwork(target, GENERATORS["low-rank"](), lambda name, module: name != "other")
    shake(net)
    return net, torch.randint(0, 7, (B,))


@pytest.mark.parametrize("kind", GENERATORS)
@pytest.mark.parametrize("samples", [(), (B,)])
def test_weights_in_place_of_a_condition(kind, samples):
    net = hn.HyperNetwork(mlp(), GENERATORS[kind]())
    shake(net)
    x, c = torch.randn(B, 5, dtype=torch.float64), drawn(*samples)
    close(net(x, weights=net.generate(c)), net(x, condition=c), 1e-12 if samples else 0)
    net(x, weights=net.generate(c)).square().sum().backward()
    mine = [parameter.grad.clone() for parameter in net.generator.parameters()]
    net.zero_grad()
    net(x, condition=c).square().sum().backward()
    for gradient, parameter in zip(mine, net.generator.parameters(), strict=True):
        close(gradient, parameter.grad)


def test_weights_of_which_only_some_are_per_sample():
    net = hn.HyperNetwork(mlp(), GENERATORS["full"](init="hyperfan-in"))
    x, one, each = torch.randn(B, 5, dtype=torch.float64), net.generate(drawn()), net.generate(drawn(B))
    weights = one | {"2.bias": each["2.bias"]}
    expected = functional_call(net.target, one, x) - one["2.bias"] + each["2.bias"]
    close(net(x, weights=weights), expected)


def without(weights, name):
    return {other: tensor for other, tensor in weights.items() if other != name}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda W: without(W, "0.bias"), ValueError, r"missing \['0\.bias'\], unknown \[\]"),
        (lambda W: W | {"3.bias": W["0.bias"]}, ValueError, r"missing \[\], unknown \['3\.bias'\]"),
        (
            lambda W: W | {"0.bias": torch.zeros(7)},
            ValueError,
            r"weights\['0\.bias'\] should have shape \(8,\) or \('batch', 8\), got \(7,\)",
        ),
        (lambda W: W | {"0.bias": torch.zeros(1, 1, 8)}, ValueError, r"got \(1, 1, 8\)"),
        (lambda W: W | {"0.bias": torch.zeros(())}, ValueError, r"got \(\)"),
        (
            lambda W: W | {"0.bias": torch.zeros(2, 8), "2.bias": torch.zeros(3, 4)},
            ValueError,
            r"one number of samples, got 2 in 0\.bias, 3 in 2\.bias",
        ),
        (
            lambda W: W | {"0.bias": W["0.bias"].long()},
            TypeError,
            r"weights\['0\.bias'\] should have a dtype such as torch\.float64, got torch\.int64",
        ),
        (lambda W: W | {"0.bias": W["0.bias"] + 1j}, TypeError, r"such as torch\.float64, got torch\.complex128"),
        (lambda W: list(W), TypeError, r"weights should be a dict of tensors, .* got list: .* by position"),
        (lambda W: dict.fromkeys(W, 1.0), TypeError, "weights should be a dict of tensors"),
    ],
)
def test_weights_that_do_not_fit(change, error, message):
    net = hn.HyperNetwork(mlp(), GENERATORS["full"]())
    with pytest.raises(error, match=message):
        net(torch.randn(B, 5, dtype=torch.float64), weights=change(net.generate(drawn())))


def test_a_condition_and_weights_exclude_each_other():
    net = hn.HyperNetwork(mlp(), GENERATORS["full"]())
    with pytest.raises(ValueError, match="condition and weights are both given: give one of them"):
        net(torch.randn(B, 5, dtype=torch.float64), condition=drawn(), weights=net.generate(drawn()))


def test_an_adapted_module_computes_what_the_network_does_and_trains_the_generator():
    net, tokens = tied()
    net.eval()
    c = drawn()
    with net.using(c) as adapted:
        assert type(adapted) is Tied
        y = adapted(tokens)
        close(adapted.head(torch.eye(5, dtype=torch.float64)), adapted.table.weight.T + adapted.head.bias)
    close(y, net(tokens, condition=c), 0)
    y.square().sum().backward()
    assert all(parameter.grad is not None for parameter in net.generator.parameters())
    with net.using(weights=net.generate(c)) as adapted:
        close(adapted(tokens), y, 0)


def test_an_adapted_module_gives_its_running_statistics_to_the_target_at_the_end():
    net, tokens = tied()
    plain = net.materialize(c := drawn())
    before = net.target.norm.running_mean.clone()
    with net.using(c) as adapted:
        for _ in range(2):
            close(adapted(tokens), plain(tokens))
        assert torch.equal(net.target.norm.running_mean, before)
    close(net.target.norm.running_mean, plain.norm.running_mean)
    assert net.target.norm.num_batches_tracked == 2
    with pytest.raises(IndexError), net.using(c) as adapted:  # a block that fails
        adapted(torch.cat((tokens, tokens + 7)))
    with pytest.raises(KeyError), net.using(c) as adapted:  # a block that fails after a call
        {}[adapted(tokens)]
    assert net.target.norm.num_batches_tracked == 2


def test_a_module_has_one_set_of_weights():
    net, _ = tied()
    with (
        pytest.raises(ValueError, match=r"one set of weights, got a condition of shape \(4, 3\)"),
        net.using(drawn(B)),
    ):
        pass
    with pytest.raises(ValueError, match="one set of weights, got weights with one set for each of 4 samples"):
        net.materialize(weights=net.generate(drawn(B)))


def test_a_materialised_module_is_a_plain_one():
    net, tokens = tied()
    net(tokens, condition=drawn()).sum().backward()
    net.eval()
    c = drawn()
    plain = net.materialize(c)
    y = net(tokens, condition=c)
    close(plain(tokens), y, 0)
    assert type(plain) is Tied
    assert plain.head.weight is plain.table.weight
    assert [*plain.state_dict()] == [*net.target.state_dict()]
    own = {id(tensor) for tensor in [*net.target.parameters(), *net.target.buffers()]}
    for parameter in plain.parameters():
        assert isinstance(parameter, nn.Parameter)
        assert parameter.is_leaf
        assert parameter.requires_grad
        assert parameter.grad is None
    assert not own & {id(tensor) for tensor in [*plain.parameters(), *plain.buffers()]}
    # it pickles, saves, loads and trains
    for other in (pickle.loads(pickle.dumps(plain)), copy.deepcopy(plain)):
        close(other(tokens), y, 0)
    file = io.BytesIO()
    torch.save(plain.state_dict(), file)
    file.seek(0)
    loaded = Tied().eval()
    loaded.load_state_dict(torch.load(file, weights_only=True))
    close(loaded(tokens), y, 0)
    plain(tokens).square().sum().backward()
    torch.optim.SGD(plain.parameters(), 0.1).step()
    assert not torch.equal(plain(tokens), y)
    close(net(tokens, condition=c), y, 0)


def test_generated_weights_of_a_tied_partial_batch_norm_target_load_into_its_like():
    net, tokens = tied()
    net.eval()
    W = net.generate(c := drawn())
    other = copy.deepcopy(net.target)
    missing, unknown = other.load_state_dict(W, strict=False)
    assert unknown == []
    assert "head.weight" in missing  # tied to table.weight
    close(other(tokens), net(tokens, condition=c), 0)
    other = Tied().eval()
    other.load_state_dict(net.materialize(c).state_dict())
    close(other(tokens), net(tokens, condition=c), 0)


class OwnNames(nn.Module):
    """A target whose own arguments have the names of the network's."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 4, dtype=torch.float64)

    def forward(self, x, condition=None, weights=None):
        return self.linear(x) * weights + condition


def test_a_target_with_arguments_named_condition_and_weights():
    net = hn.HyperNetwork(OwnNames(), GENERATORS["full"](init="hyperfan-in"))
    x, c = torch.randn(B, 5, dtype=torch.float64), drawn()
    W, b = net.generate(c).values()
    own, scale = torch.randn(2, B, 4, dtype=torch.float64)
    expected = (x @ W.T + b) * scale + own
    close(net(x, own, scale, condition=c), expected)
    close(net(x, own, scale, condition=c.expand(B, C)), expected)
    with net.using(c) as adapted:
        close(adapted(x, condition=own, weights=scale), expected)
    with pytest.raises(TypeError, match="give the target's own argument `weights` by position"):
        net(x, own, weights=scale)


def test_tensors_of_a_generator_in_another_dtype_are_cast_to_the_targets():
    class Wide(hn.Generator):
        """Generates float64 for a target in bfloat16."""

        condition_size = C

        def build(self, weights):
            self.head = nn.Linear(C, sum(weight.value.numel() for weight in weights)).double()
            self.shapes = [weight.shape for weight in weights]

        def forward(self, condition, base):
            parts = self.head(condition).split([shape.numel() for shape in self.shapes], dim=-1)
            named = zip(self.names, self.shapes, parts, strict=True)
            return {name: part.unflatten(-1, shape) for name, shape, part in named}

    target = mlp(torch.bfloat16)
    net = hn.HyperNetwork(target, Wide())
    x = torch.randn(B, 5, dtype=torch.bfloat16)
    for c in (drawn(), drawn(B)):
        assert {tensor.dtype for tensor in net.generate(c).values()} == {torch.bfloat16}
        y = net(x, condition=c)
        assert y.dtype is torch.bfloat16
        net.zero_grad()
        y.sum().backward()
        assert net.generator.head.weight.grad.dtype is torch.float64
        assert net.generator.head.weight.grad.abs().max() > 0


def test_a_generator_that_returns_other_names():
    class Wrong(hn.Generator):
        def build(self, weights):
            pass

        def forward(self, condition, base):
            return {"0.bias": base["0.bias"], "no": base["0.bias"]}

    net = hn.HyperNetwork(mlp(), Wrong())
    message = r"Wrong should return the tensors of its names: missing \['0\.weight', .* unknown \['no'\]"
    with pytest.raises(ValueError, match=message):
        net(torch.randn(B, 5, dtype=torch.float64))


def test_given_weights_under_a_further_name_of_a_tied_parameter():
    target = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5)).double()
    target[1].weight = target[0].weight
    net = hn.HyperNetwork(target, GENERATORS["full"]())
    W = net.generate(drawn())
    W["1.weight"] = W.pop("0.weight")
    message = r"missing \['0\.weight'\], unknown \['1\.weight'\], 1\.weight is tied to 0\.weight$"
    with pytest.raises(ValueError, match=message):
        net(torch.randn(B, 5, dtype=torch.float64), weights=W)


@pytest.mark.parametrize(
    "target",
    [nn.LazyLinear(4), nn.Sequential(nn.Linear(5, 4), nn.LazyBatchNorm1d())],
    ids=["the target", "a norm"],
)
def test_lazy_modules_are_refused(target):
    with pytest.raises(ValueError, match=r"a Lazy\w+, has no parameters yet: call the target once on an input"):
        hn.HyperNetwork(target, GENERATORS["full"](), nn.Linear)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("way", ["spectral_norm", "weight_norm", "orthogonal", "old spectral_norm", "old weight_norm"])
@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
def test_parametrised_weights(way, train):
    ways = {
        "spectral_norm": nn.utils.parametrizations.spectral_norm,
        "weight_norm": nn.utils.parametrizations.weight_norm,
        "orthogonal": nn.utils.parametrizations.orthogonal,
        "old spectral_norm": nn.utils.spectral_norm,
        "old weight_norm": nn.utils.weight_norm,
    }
    target, plain = (
        nn.Sequential(ways[way](nn.Linear(5, 5)), nn.ReLU(), nn.Linear(5, 2)).double().train(train) for _ in range(2)
    )
    net = hn.HyperNetwork(target, hn.FullGenerator(C, init="hyperfan-in"))
    plain.load_state_dict(target.state_dict())
    x, c = torch.randn(B, 5, dtype=torch.float64), drawn()
    with torch.no_grad():
        for name, tensor in net.generate(c).items():
            plain.get_parameter(name).copy_(tensor)
    for _ in range(2):
        close(net(x, condition=c), plain(x))
    for mine, theirs in zip(target.buffers(), plain.buffers(), strict=True):
        close(mine, theirs)


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_transformer_encoders_and_their_fast_paths(train, padded, gradients):
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    target = nn.TransformerEncoder(layer, 2, enable_nested_tensor=True).double().train(train)
    net = hn.HyperNetwork(target, hn.FullGenerator(C))
    shake(net)
    x, c = torch.randn(B, 3, 8, dtype=torch.float64), drawn()
    own = {"src_key_padding_mask": torch.tensor([[False, False, True]] * B)} if padded else {}
    plain = net.materialize(c)
    with torch.set_grad_enabled(gradients):
        y, expected = net(x, condition=c, **own), plain(x, **own)
    keep = slice(0, 2) if padded else slice(None)
    close(y[:, keep], expected[:, keep])
    assert y.requires_grad == gradients
