"""Which rows belong to which sample is measured, and where it cannot be known each sample runs alone: never a wrong number."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import hypernetworks as hn

from .loops import in_a_loop, same_as_in_a_loop, served, why
from .targets import C, close, shake

B = 4
double = {"dtype": torch.float64}


class Run(nn.Module):
    """Two dense layers, and what is done with them."""

    def __init__(self, forward, d=B):
        super().__init__()
        self.a, self.b = nn.Linear(d, d, **double), nn.Linear(d, d, **double)
        self.run = forward

    def forward(self, *args, **kwargs):
        return self.run(self, *args, **kwargs)


def wrapped(forward, generator=None, modules=None):
    net = hn.HyperNetwork(Run(forward), generator or hn.LowRankGenerator(C, rank=2), modules)
    shake(net)
    return net


def windows(net, x):
    """Swin: squares of 2 × 2 places, each a row with its sample first."""
    x = x.view(len(x), 2, 2, 2, 2, B).transpose(2, 3).reshape(-1, 4, B)
    x = net.b(net.a(x))
    return x.view(-1, 2, 2, 2, 2, B).transpose(2, 3).reshape(-1, 4, 4, B)


SERVED = {
    "samples first": (lambda net, x: net.b(torch.tanh(net.a(x))), (B, B, B)),
    "time first": (lambda net, x: net.b(torch.tanh(net.a(x.transpose(0, 1)))).transpose(0, 1), (B, B, B)),
    "flat": (lambda net, x: net.b(torch.tanh(net.a(x.flatten(0, 1)))).unflatten(0, x.shape[:2]), (B, B, B)),
    "interleaved": (
        lambda net, x: net.b(net.a(x.transpose(0, 1).flatten(0, 1))).unflatten(0, (B, -1)).transpose(0, 1),
        (B, B, B),
    ),
    "windows": (windows, (B, 4, 4, B)),
    "heads first": (lambda net, x: net.b(net.a(x.permute(2, 0, 1, 3))).permute(1, 2, 0, 3), (B, B, B, B)),
    "last axis": (lambda net, x: net.b(net.a(x.movedim(0, -2))).movedim(-2, 0), (B, B, B, B)),
}


SCALES = {
    "one more, in float32": lambda w, x: (1.0 + w.float()).type_as(x),
    "another dtype": lambda w, x: w.to(torch.float32).to(dtype=torch.float64),
    "like the input": lambda w, x: w.to(x),
    "numbers on both sides": lambda w, x: x * (2 - 3 * (w / 2)) + (1 - w) + 1 / (4 + w),
}


@pytest.mark.parametrize("case", SCALES)
def test_numbers_and_dtypes_of_a_vector(case):
    """As in the norms of language models."""
    net = wrapped(lambda net, x: net.a(x) * SCALES[case](net.b.bias, x), hn.FullGenerator(C, hidden=()))
    same_as_in_a_loop(net, (torch.randn(B, 3, B, **double),), torch.randn(B, C, **double), tol=1e-6)
    assert served(net), why(net)


@pytest.mark.parametrize("case", SERVED)
def test_the_samples_are_found_wherever_they_are(case):
    """All sizes are equal, so only what depends on a sample tells where it is."""
    forward, shape = SERVED[case]
    net = wrapped(forward)
    same_as_in_a_loop(net, [torch.randn(shape, **double)], torch.randn(B, C, **double))
    assert served(net), why(net)


def by_size(net, x):
    """Takes the dimension of size 4 for time."""
    return net.b(torch.tanh(net.a(x.transpose(0, 1)))).transpose(0, 1) if x.shape[1] == B else net.b(net.a(x))


@pytest.mark.parametrize("steps", [(2, B), (B, 2)])
def test_another_shape_is_measured_again(steps):
    net = wrapped(by_size)
    for T in steps:
        same_as_in_a_loop(net, [torch.randn(B, T, B, **double)], torch.randn(B, C, **double))
        assert served(net), why(net)


def sorted_rows(net, x):
    """Sorts all rows, calls the layers, and puts the rows back."""
    rows = x.flatten(0, 1)
    order = rows[:, 0].argsort()
    return net.b(net.a(rows[order]))[order.argsort()].view_as(x)


def routed(net, x):
    """Two experts: a row's sign says which."""
    rows, out = x.flatten(0, 1), torch.zeros_like(x).flatten(0, 1)
    first = rows[:, 0] > 0
    out[first] = net.a(rows[first])
    out[~first] = net.b(rows[~first])
    return out.view_as(x)


NOT_SERVED = {
    "reversed": lambda net, x: net.b(net.a(x.flip(0))).flip(0),
    "an order": lambda net, x: net.b(net.a(x[[0, 2, 1, 3]]))[[0, 2, 1, 3]],
    "mixed": lambda net, x: net.b(net.a(x - x.mean(0))),
    "mixed neighbours": lambda net, x: net.b(net.a(x) + 0.1 * x.roll(1, 0)),
    "mixed only in the result": lambda net, x: net.a(x) - net.b(x).mean(0, keepdim=True),
    "a constant": lambda net, x: net.a(x) + net.b(torch.ones(B, B, B, **double)[: len(x)]),
    "arithmetic on a weight": lambda net, x: F.linear(x, net.a.weight / net.a.weight.norm(), net.b.bias),
    "a weight as an activation": lambda net, x: net.a(x) + net.b(net.a.bias),
}


@pytest.mark.parametrize("case", NOT_SERVED)
def test_what_cannot_be_known_runs_alone(case):
    """In a loop a sample is a batch of one, and so it is under vmap: no sample sees another."""
    net = wrapped(NOT_SERVED[case])
    if case in ("reversed", "an order"):
        # a batch of one has no other order
        net.target.run = {"reversed": lambda net, x: net.b(net.a(x.flip(0))).flip(0)}.get(case, _ordered)
    same_as_in_a_loop(net, [torch.randn(B, B, B, **double)], torch.randn(B, C, **double))
    assert not served(net)
    y = net(torch.randn(B, B, B, **double), condition=torch.randn(B, C, **double))  # not tried again
    assert y.shape == (B, B, B)
    assert not served(net)


def _ordered(net, x):
    order = [0, 2, 1, 3] if len(x) == B else [0]
    return net.b(net.a(x[order]))[order]


@pytest.mark.parametrize("forward", [sorted_rows, routed], ids=["sorted", "routed"])
def test_an_order_that_depends_on_the_values_is_never_taken_for_a_layout(forward):
    """With rows that are in order, the samples seem to be in their places; with others they are not."""
    net = wrapped(forward)
    in_order = torch.arange(1.0, 1 + B * B * B, **double).view(B, B, B)
    c = torch.randn(B, C, **double)
    for x in (in_order, torch.randn(B, B, B, **double)):
        if forward is routed:  # vmap has no rule for boolean indices
            with pytest.raises(RuntimeError, match="A loop always can"):
                net(x, condition=c)
        else:
            close(net(x, condition=c), in_a_loop(net, [x], c))
        assert not served(net)


def by_length(net, x, lengths):
    """The longest first, as before packing."""
    order = lengths.argsort(descending=True, stable=True)
    y = net.b(net.a(x.index_select(0, order)))
    return y[order.argsort()]


def shuffled(net, x):
    order = torch.randperm(len(x))
    return net.b(net.a(x[order]))[order.argsort()]


def scattered(net, x):
    order = torch.randperm(len(x))
    y = net.b(net.a(torch.zeros_like(x).index_copy(0, order, x)))
    return y[order]


def test_orders_of_the_samples_are_not_served():
    """The first order is that of the samples, so that they are in their places; the second is not."""
    c, x = torch.randn(B, C, **double), torch.randn(B, B, B, **double)
    net = wrapped(by_length)
    for lengths in (torch.full((B,), 2), torch.tensor([1, 3, 2, 4])):
        close(
            net(x, lengths, condition=c),
            torch.cat([net(x[n : n + 1], lengths[n : n + 1], condition=c[n]) for n in range(B)]),
        )
        assert not served(net)
    for forward in (shuffled, scattered):
        net = wrapped(forward)
        for _ in range(4):  # two samples are in their places half of the time
            same_as_in_a_loop(net, [x[:2]], c[:2])
            assert not served(net)


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: net.a(x)[torch.arange(len(x)), x[:, :, 0].argmax(1)],
        lambda net, x: net.b(net.a(x).gather(1, x[:, :2, :1].argsort(1).expand(-1, -1, B))),
        lambda net, x: net.b(net.a(x).sort(1)[0].topk(2, 1)[0]),
        lambda net, x: net.b(net.a(x)[:, torch.randperm(B, generator=torch.Generator().manual_seed(len(x) * 0))]),
        lambda net, x: net.b(net.a(x)[..., [2, 0, 1, 3]][:, [1, 2]]),
    ],
    ids=["last token", "gathered", "sorted", "shuffled tokens", "a list"],
)
def test_orders_within_a_sample_are_served(forward):
    net = wrapped(forward, modules="a*")
    same_as_in_a_loop(net, [torch.randn(B, B, B, **double)], torch.randn(B, C, **double))
    assert served(net), why(net)


def test_dropout_is_drawn_for_each_sample_on_the_whole_batch():
    net = wrapped(lambda net, x: F.dropout(net.a(x), 0.5, training=True))
    x = torch.randn(1, B, **double).expand(B, B)
    state = torch.get_rng_state()
    y = net(x, condition=torch.ones(B, C, **double))
    assert served(net)
    assert not torch.equal(y[0] == 0, y[1] == 0)
    torch.set_rng_state(state)  # the first call measured, the second does not: both draw the same
    assert torch.equal(y, net(x, condition=torch.ones(B, C, **double)))


def test_checkpoints_inside_of_the_target():
    net = wrapped(lambda net, x: checkpoint(lambda x: net.b(torch.tanh(net.a(x))), x, use_reentrant=False))
    same_as_in_a_loop(net, [torch.randn(B, 3, B, **double)], torch.randn(B, C, **double))
    assert served(net), why(net)


def test_nothing_is_written_into_the_target_and_hooks_see_all_samples():
    net = wrapped(lambda net, x: net.b(net.a(x)))
    seen = []
    net.target.a.register_forward_hook(lambda module, args, out: seen.append(out))
    before = {name: (id(value), value.clone()) for name, value in net.target.state_dict(keep_vars=True).items()}
    x, c = torch.randn(B, 3, B, **double), torch.randn(B, C, **double)
    net(x, condition=c)
    assert [out.shape for out in seen] == [(B, 3, B)]
    for name, value in net.target.state_dict(keep_vars=True).items():
        assert before[name][0] == id(value)
        assert torch.equal(before[name][1], value)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("kind", ["encoder", "decoder", "encoders", "transformer"])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
def test_transformers_of_torch_with_as_many_steps_as_samples(kind, batch_first, train):
    """Time-major is their default: no dimension 0 is taken for the batch."""
    own = {"dim_feedforward": 6, "dropout": 0.0, "batch_first": batch_first, **double}
    layer = nn.TransformerEncoderLayer(4, 2, **own)
    target = {
        "encoder": lambda: layer,
        "decoder": lambda: nn.TransformerDecoderLayer(4, 2, **own),
        "encoders": lambda: nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
        "transformer": lambda: nn.Transformer(4, 2, 1, 1, **own),
    }[kind]()
    net = hn.HyperNetwork(target, hn.LowRankGenerator(C, rank=2)).train(train)
    shake(net)
    args = [torch.randn(B, B, 4, **double) for _ in range(2 if kind in ("decoder", "transformer") else 1)]
    same_as_in_a_loop(net, args, torch.randn(B, C, **double), dim=0 if batch_first else 1)
    assert served(net), why(net)


@pytest.mark.parametrize("batch_first", [True, False])
def test_masks_of_attention_are_shared_and_masks_of_padding_are_not(batch_first):
    own = {"dim_feedforward": 6, "dropout": 0.0, "batch_first": batch_first, **double}
    net = hn.HyperNetwork(nn.TransformerEncoderLayer(4, 2, **own), hn.LowRankGenerator(C, rank=2))
    shake(net)
    x, c = torch.randn(B, B, 4, **double), torch.randn(B, C, **double)
    causal = torch.triu(torch.ones(B, B, dtype=torch.bool), 1)
    padding = torch.zeros(B, B, dtype=torch.bool)
    padding[1, 2:] = padding[3, 3:] = True
    y = net(x, causal, padding, condition=c)
    dim = 0 if batch_first else 1
    for n in range(B):
        one = net(x.narrow(dim, n, 1), causal, padding[n : n + 1], condition=c[n])
        close(y.narrow(dim, n, 1), one)
    assert served(net), why(net)


def test_stated_dimensions_and_shared_arguments():
    net = wrapped(lambda net, x, scale, *, shift: (net.b(net.a(x) * scale) + shift).transpose(0, 1))
    x, c = torch.randn(3, B, B, **double), torch.randn(B, C, **double)
    scale, shift = torch.randn(B, **double), torch.randn(B, B, **double)
    y = net(x, scale, shift=shift, condition=c, in_dims=(1, None), out_dims=0)
    assert y.shape == (B, 3, B)
    for n in range(B):
        close(y[n : n + 1], net(x[:, n : n + 1], scale, shift=shift[n : n + 1], condition=c[n]))
    same = net(x, scale, shift=shift, condition=c, in_dims={0: 1, 1: None, "shift": 0})
    close(y, same)
    net.target.run = lambda net, x: net.b(net.a(x))
    same_as_in_a_loop(net, [x], c, dim=1, in_dims=1, out_dims=1)


@pytest.mark.parametrize("mixed", [False, True], ids=["whole batch", "vmap"])
def test_several_samples_for_each_condition(mixed):
    n = 3
    more = (lambda net: (net.a.weight**2).sum()) if mixed else (lambda net: 0)
    net = wrapped(lambda net, x: net.b(torch.tanh(net.a(x))) + more(net))
    same_as_in_a_loop(net, [torch.randn(B * n, 5, B, **double)], torch.randn(B, C, **double), samples_per_condition=n)
    assert served(net) != mixed


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"in_dims": (0, 0)}, "in_dims has 2 entries for 1 positional"),
        ({"in_dims": {"y": 0}}, "in_dims has \\['y'\\], but the arguments are \\[0\\]"),
        ({"in_dims": 1}, "with the batch in dimension 1"),
        ({"samples_per_condition": 2}, "4 rows with 2 samples each"),
        ({"out_dims": None}, "out_dims should be a dimension"),
    ],
)
def test_dimensions_that_do_not_fit_are_refused(stated, message):
    net = wrapped(lambda net, x: net.a(x))
    with pytest.raises(ValueError, match=message):
        net(torch.randn(B, 3, B, **double), condition=torch.randn(B, C, **double), **stated)


def test_a_loss_is_that_of_each_sample():
    net = wrapped(lambda net, x: net.a(x).square().mean())
    x, c = torch.randn(B, 3, B, **double), torch.randn(B, C, **double)
    losses = net(x, condition=c)
    assert losses.shape == (B,)
    close(losses, torch.stack([net(x[n : n + 1], condition=c[n]) for n in range(B)]))
    close(net(x[:1], condition=c[:1]), losses[:1])


def test_what_is_returned_without_samples_is_refused():
    net = wrapped(lambda net, x: net.a(x).sum((0, 1)))
    with pytest.raises(ValueError, match="return it with the batch there, or state out_dims"):
        net(torch.randn(B, 3, B, **double), condition=torch.randn(B, C, **double))


@pytest.mark.parametrize("generator", [hn.LowRankGenerator(C, rank=2), hn.RowScaleGenerator(C), hn.FullGenerator(C)])
def test_autocast(generator):
    """bfloat16 where a loop has it, and as exact."""
    target = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))
    net = hn.HyperNetwork(target, generator)
    shake(net)
    x, c = torch.randn(B, 3, 4, 4), torch.randn(B, C)
    exact = in_a_loop(net, [x], c)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, loop = net(x, condition=c), in_a_loop(net, [x], c)
    assert y.dtype == loop.dtype == torch.bfloat16
    assert served(net), why(net)
    assert (y - exact).abs().max() < 0.02 * exact.abs().max()


@pytest.mark.parametrize("alone", [False, True], ids=["whole batch", "vmap"])
def test_hooks_see_real_tensors_of_all_samples(alone):
    net = wrapped(lambda net, x: net.b(net.a(x)) + (net.a.weight.sum() if alone else 0))
    x, c = torch.randn(B, 3, B, **double), torch.randn(B, C, **double)
    expected = in_a_loop(net, [x], c)
    parts = torch.cat([F.linear(x[n : n + 1], W, b) for n, (W, b) in enumerate(_weights(net, c))])
    seen = []
    net.target.a.register_forward_hook(lambda module, args, out: seen.append((*args, out)))
    close(net(x, condition=c), expected)
    assert served(net) != alone
    ((given, out),) = seen
    close(given, x)
    close(out, parts)
    assert (out.sum() + 1).isfinite()  # nothing of a vmap that is over


def _weights(net, c):
    made = net.generate(c)
    return zip(made["a.weight"], made["a.bias"], strict=True)


@pytest.mark.parametrize("alone", [False, True], ids=["whole batch", "vmap"])
def test_hooks_that_change_a_result(alone):
    net = wrapped(lambda net, x: net.b(net.a(x)) + (net.a.weight.sum() if alone else 0))
    net.target.a.register_forward_hook(lambda module, args, out: 2 * out)
    same_as_in_a_loop(net, [torch.randn(B, 3, B, **double)], torch.randn(B, C, **double))
    assert not served(net)


class Axis(nn.Module):
    """Its samples are in the dimension that an attribute says: 0 or 1, and always as many as there are steps."""

    def __init__(self):
        super().__init__()
        self.a, self.time_first = nn.Linear(B, B, **double), False

    def forward(self, x):
        return self.a(x.transpose(0, 1)).transpose(0, 1) if self.time_first else self.a(x)


def test_a_changed_setting_of_a_module_is_measured_again():
    net = hn.HyperNetwork(Axis(), hn.LowRankGenerator(C, rank=2))
    shake(net)
    for time_first in (False, True, False):
        net.target.time_first = time_first
        same_as_in_a_loop(net, [torch.randn(B, B, B, **double)], torch.randn(B, C, **double))
        assert served(net)
    assert len(net._measured._found) == 2


class Uncopyable:
    def __deepcopy__(self, memo):
        raise TypeError("no copies")


@pytest.mark.parametrize(
    ("value", "copied"), [({"factor": 2.0}, True), (Uncopyable(), False)], ids=["a dict", "what cannot be copied"]
)
def test_arguments_that_are_no_tensors(value, copied):
    net = wrapped(lambda net, x, more: net.b(net.a(x)) * (more["factor"] if isinstance(more, dict) else 1.0))
    x, c = torch.randn(B, 3, B, **double), torch.randn(B, C, **double)
    y = net(x, value, condition=c)
    close(y, torch.cat([net(x[n : n + 1], value, condition=c[n]) for n in range(B)]))
    assert served(net) == copied


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_grad_modes(mode):
    net = wrapped(lambda net, x: net.b(net.a(x)))
    with mode():
        x, c = torch.randn(B, 3, B, **double), torch.randn(B, C, **double)
        close(net(x, condition=c), in_a_loop(net, [x], c))
        assert served(net), why(net)


def test_random_numbers_are_as_without_measuring():
    net = wrapped(lambda net, x: net.b(net.a(x)) * torch.rand(1, **double))
    state = torch.get_rng_state()
    net(torch.randn(B, 3, B, **double), condition=torch.randn(B, C, **double))
    after = torch.get_rng_state()
    torch.set_rng_state(state)
    net(torch.randn(B, 3, B, **double), condition=torch.randn(B, C, **double))
    assert torch.equal(after, torch.get_rng_state())


@pytest.mark.parametrize(
    "generator", [hn.LowRankGenerator(C, rank=2), hn.RowScaleGenerator(C), hn.FullGenerator(C, ())]
)
def test_a_target_in_bfloat16_with_a_generator_in_float32(generator):
    target = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)).bfloat16()
    net = hn.HyperNetwork(target, generator)
    x, c = torch.randn(B, 3, 4, 4).bfloat16(), torch.randn(B, C)
    y, loop = net(x, condition=c), in_a_loop(net, [x], c)
    assert served(net), why(net)
    assert y.dtype == loop.dtype == torch.bfloat16
    assert (y - loop).abs().max() < 0.02 * loop.abs().max()
    y.float().sum().backward()
    assert {parameter.grad.dtype for parameter in net.generator.parameters() if parameter.grad is not None} == {
        torch.float32
    }


def test_a_generator_with_a_wrong_name_says_so():
    class Wrong(hn.Generator):
        condition_size = C

        def build(self, weights):
            pass

        def forward(self, condition, base):
            return {"other": condition}

    net = hn.HyperNetwork(Run(lambda net, x: net.a(x)), Wrong())
    with pytest.raises(ValueError, match=r"missing .*a.weight.*unknown \['other'\]"):
        net(torch.randn(B, B, **double), condition=torch.randn(B, C, **double))
