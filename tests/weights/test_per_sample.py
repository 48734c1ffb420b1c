"""Weights per sample equal a loop over the samples, and with BatchNorm the plain module."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call

import hypernetworks as hn

from .targets import GENERATORS, C, ResidualBlock, close, mlp, shake

B = 5


def conditions(samples=B):
    return torch.randn(samples, C, dtype=torch.float64)


@pytest.mark.parametrize("kind", GENERATORS)
def test_each_sample_has_its_own_weights_and_gradients(kind):
    net = hn.HyperNetwork(mlp(), GENERATORS[kind]())
    shake(net)
    twin = copy.deepcopy(net)
    x, c, cotangent = torch.randn(B, 5, dtype=torch.float64), conditions(), torch.randn(B, 4, dtype=torch.float64)
    y = net(x, condition=c)
    each = torch.cat([twin(x[n : n + 1], condition=c[n]) for n in range(B)])
    close(y, each)
    assert (y - net(x, condition=c[0])).abs().max() > 1e-3
    (y * cotangent).sum().backward()
    (each * cotangent).sum().backward()
    for (name, mine), theirs in zip(net.named_parameters(), twin.parameters(), strict=True):
        if mine.requires_grad:
            assert mine.grad.abs().max() > 0, name
            close(mine.grad, theirs.grad)
        else:
            assert mine.grad is None


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("kind", GENERATORS)
def test_equal_weights_for_all_equal_the_plain_batch_norm_net(kind, train):
    target = ResidualBlock()
    own = {"init": "target"} if kind == "chunked" else {}
    plain = copy.deepcopy(target).train(train)
    net = hn.HyperNetwork(target, GENERATORS[kind](**own)).train(train)
    for _ in range(3):  # running statistics carry over from call to call
        x = torch.randn(B, 4, 6, 6, dtype=torch.float64, requires_grad=True)
        x_plain = x.detach().clone().requires_grad_()
        y, expected = net(x, condition=torch.randn(C, dtype=torch.float64).expand(B, C)), plain(x_plain)
        close(y, expected)
        y.square().sum().backward()
        expected.square().sum().backward()
        close(x.grad, x_plain.grad)
    for mine, theirs in zip(target.buffers(), plain.buffers(), strict=True):
        close(mine.double(), theirs.double())
    assert target.bn1.num_batches_tracked == (3 if train else 0)


@pytest.mark.parametrize("train", [True, False])
def test_batch_norm_normalises_over_all_samples_whatever_their_weights(train):
    """The block written out: convolutions in a loop, F.batch_norm of the whole batch, gains and shifts per sample."""
    target = ResidualBlock().train(train)
    net = hn.HyperNetwork(target, GENERATORS["full"]())
    shake(net)
    with torch.no_grad():
        target.bn1.running_mean.normal_()
        target.bn2.running_var.uniform_(0.5, 2)
    x, c = torch.randn(B, 4, 6, 6, dtype=torch.float64), conditions()
    W = net.generate(c)
    statistics = {name: buffer.clone() for name, buffer in target.named_buffers()}

    def layer(x, k):
        convolved = [nn.functional.conv2d(x[n : n + 1], W[f"conv{k}.weight"][n], padding=1) for n in range(B)]
        normal = nn.functional.batch_norm(
            torch.cat(convolved),
            statistics[f"bn{k}.running_mean"],
            statistics[f"bn{k}.running_var"],
            training=train,
        )
        return normal * W[f"bn{k}.weight"][:, :, None, None] + W[f"bn{k}.bias"][:, :, None, None]

    expected = torch.relu(x + layer(torch.relu(layer(x, 1)), 2))
    close(net(x, condition=c), expected)
    for name in ("bn1.running_mean", "bn1.running_var", "bn2.running_mean", "bn2.running_var"):
        close(target.get_buffer(name), statistics[name])


@pytest.mark.parametrize("own", [{"momentum": None}, {"track_running_stats": False}, {"affine": False}])
def test_batch_norms_of_every_kind(own):
    norm = nn.BatchNorm1d(4, dtype=torch.float64, **own)
    target = nn.Sequential(nn.Linear(5, 4, dtype=torch.float64), norm)
    plain = copy.deepcopy(target)
    net = hn.HyperNetwork(target, hn.FullGenerator(C), nn.Linear)
    for _ in range(2):
        x = torch.randn(B, 5, dtype=torch.float64)
        close(net(x, condition=conditions()), plain(x))
    for mine, theirs in zip(target.buffers(), plain.buffers(), strict=True):
        close(mine.double(), theirs.double())


def test_one_value_per_channel_cannot_be_normalised_as_in_torch():
    target = nn.Sequential(nn.Linear(5, 4, dtype=torch.float64), nn.BatchNorm1d(4, dtype=torch.float64))
    net = hn.HyperNetwork(target, hn.FullGenerator(C))
    before = {name: buffer.clone() for name, buffer in target.named_buffers()}
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        net(torch.randn(1, 5, dtype=torch.float64), condition=conditions(1))
    assert all(torch.equal(buffer, before[name]) for name, buffer in target.named_buffers())


RECURRENT = [
    (nn.LSTM, {}),
    (nn.LSTM, {"bias": False}),
    (nn.GRU, {}),
    (nn.GRU, {"bias": False}),
    (nn.RNN, {}),
    (nn.RNN, {"nonlinearity": "relu"}),
]


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(("kind", "own"), RECURRENT)
def test_recurrent_networks_of_torch(kind, own, batch_first):
    target = kind(4, 6, num_layers=2, bidirectional=True, batch_first=batch_first, dtype=torch.float64, **own)
    net = hn.HyperNetwork(target, hn.FullGenerator(C, init="hyperfan-in"))
    dim = 0 if batch_first else 1
    x, c = torch.randn(B, 3, 4, dtype=torch.float64), conditions()
    x = x if batch_first else x.transpose(0, 1)
    state = torch.randn(4, B, 6, dtype=torch.float64)
    state = (state, state + 1) if kind is nn.LSTM else state
    W = net.generate(c)
    output, final = net(x, state, condition=c)
    for n in range(B):
        own_state = tuple(part[:, n : n + 1] for part in state) if kind is nn.LSTM else state[:, n : n + 1]
        weights = {name: tensor[n] for name, tensor in W.items()}
        one, one_final = functional_call(target, weights, (x.narrow(dim, n, 1), own_state))
        close(output.narrow(dim, n, 1), one)
        for mine, theirs in zip(final, one_final, strict=True) if kind is nn.LSTM else [(final, one_final)]:
            close(mine[:, n : n + 1], theirs)


class Packed(nn.Module):
    """Packs what it is given before its network reads it."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(nn.utils.rnn.pack_padded_sequence(x, [len(x)] * x.shape[1]))[1]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_packed_input_is_refused(kind):
    net = hn.HyperNetwork(Packed(kind(4, 6)), hn.FullGenerator(C))
    x, c = torch.randn(B, 3, 4), conditions().float()
    with pytest.raises(ValueError, match="packed input cannot have weights for each sample: pad it"):
        net(x, condition=c)
    bare = hn.HyperNetwork(kind(4, 6), hn.FullGenerator(C))
    with pytest.raises(ValueError, match="packed input cannot have weights for each sample: pad it"):
        bare(nn.utils.rnn.pack_sequence(list(torch.randn(B, 3, 4))), condition=c)


def test_projections_are_refused():
    net = hn.HyperNetwork(nn.LSTM(4, 6, proj_size=2), hn.FullGenerator(C))
    with pytest.raises(ValueError, match="proj_size"):
        net(torch.randn(3, B, 4), condition=conditions().float())


def test_a_recurrent_network_inside_of_a_target():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(4, 6, batch_first=True, dtype=torch.float64)
            self.head = nn.Linear(6, 2, dtype=torch.float64)

        def forward(self, x):
            return self.head(self.lstm(x)[0][:, -1])

    net = hn.HyperNetwork(Reader(), hn.FullGenerator(C, init="hyperfan-in"))
    x, c = torch.randn(B, 3, 4, dtype=torch.float64), conditions()
    close(net(x, condition=c), torch.cat([net(x[n : n + 1], condition=c[n]) for n in range(B)]))


@pytest.mark.parametrize(
    ("target", "shape"),
    [
        (hn.LSTM(4, 6, batch_first=True, dtype=torch.float64), (B, 3, 4)),
        (hn.HyperLSTM(4, 6, hyper_size=3, hyper_embedding_size=2, batch_first=True, dtype=torch.float64), (B, 3, 4)),
        (
            nn.Sequential(nn.ConvTranspose1d(4, 6, 3, dtype=torch.float64), nn.GroupNorm(2, 6, dtype=torch.float64)),
            (B, 4, 5),
        ),
    ],
    ids=["hn.LSTM", "hn.HyperLSTM", "transposed convolution"],
)
def test_other_targets(target, shape):
    net = hn.HyperNetwork(copy.deepcopy(target), hn.FullGenerator(C))
    shake(net)
    x, c = torch.randn(shape, dtype=torch.float64), conditions()
    answer = net(x, condition=c)
    answer = answer if isinstance(answer, torch.Tensor) else answer[0]
    for n in range(B):
        one = net(x[n : n + 1], condition=c[n])
        close(answer[n : n + 1], one if isinstance(one, torch.Tensor) else one[0])


def test_attention_in_a_transformer():
    target = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True, dtype=torch.float64)
    net = hn.HyperNetwork(target, hn.FullGenerator(C))
    shake(net)
    x, c = torch.randn(B, 3, 4, dtype=torch.float64), conditions()
    # torch says that vmap runs the fused attention of the CPU one sample at a time; the plain one it knows
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        answer = net(x, condition=c)
        close(answer, torch.cat([net(x[n : n + 1], condition=c[n]) for n in range(B)]))


def test_answers_that_are_no_tensors_come_through():
    class Answers(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(5, 4, dtype=torch.float64)

        def forward(self, x, factor, *, note):
            return {"y": self.linear(x) * factor, "note": note, "none": None}

    net = hn.HyperNetwork(Answers(), hn.FullGenerator(C))
    x = torch.randn(B, 5, dtype=torch.float64)
    answer = net(x, 2.0, note="kept", condition=conditions())
    assert (answer["note"], answer["none"]) == ("kept", None)
    close(answer["y"], 2 * net.target.linear(x))


def test_dropout_draws_for_each_sample():
    target = nn.Sequential(nn.Linear(5, 50, dtype=torch.float64), nn.Dropout(0.5))
    net = hn.HyperNetwork(target, hn.FullGenerator(C))
    x = torch.randn(1, 5, dtype=torch.float64).expand(2, 5)
    y = net(x, condition=torch.ones(2, C, dtype=torch.float64))
    assert not torch.equal(y[0] == 0, y[1] == 0)


def test_a_generator_without_condition_beside_one_with_it():
    target = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).double()
    parts = {"0.weight": hn.TiledKernelGenerator(2, tile=4), nn.Linear: hn.FullGenerator(C, init="hyperfan-in")}
    net = hn.HyperNetwork(target, hn.GeneratorSplit(parts), lambda name, module, own: own == "weight" or name == "3")
    x, c = torch.randn(B, 4, 4, 4, dtype=torch.float64), conditions()
    close(net(x, condition=c), torch.cat([net(x[n : n + 1], condition=c[n]) for n in range(B)]))
