"""Weights per sample under torch.autocast: the dtypes of a loop over the samples in every function, and its numbers."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import hypernetworks as hn
from hypernetworks.weights.per_sample.autocast import rule_of

from .loops import served
from .targets import C, shake

B, D = 3, 4
EPSILON = 2**-8
"""The relative distance of two numbers in bfloat16."""


class Applied(nn.Module):
    """A function of an activation in bfloat16, one in float32, and generated parameters on which arithmetic is done."""

    def __init__(self, function):
        super().__init__()
        self.first, self.function = nn.Linear(D, D), function
        self.W = nn.Parameter(torch.randn(D, D))
        self.b = nn.Parameter(torch.randn(D))
        self.K = nn.Parameter(torch.randn(D, D, 3))

    def forward(self, x):
        low = torch.matmul(x, x.mT)  # in bfloat16 under autocast
        W, b, K = self.W.neg().neg(), self.b.neg().neg(), self.K.neg().neg()  # forms do not serve this
        return self.function(low, x, W, b, K)


FUNCTIONS = {
    "linear": lambda low, x, W, b, K: F.linear(x, W, b),
    "linear without a bias": lambda low, x, W, b, K: F.linear(x, W),
    "matmul": lambda low, x, W, b, K: x @ W,
    "addmm": lambda low, x, W, b, K: torch.addmm(b, x[0], W)[None],
    "baddbmm": lambda low, x, W, b, K: torch.baddbmm(b, x, x),
    "mv": lambda low, x, W, b, K: torch.mv(W, x[0, 0])[None],
    "dot": lambda low, x, W, b, K: torch.dot(b, x[0, 0])[None],
    "einsum": lambda low, x, W, b, K: torch.einsum("bij,jk->bik", x, W),
    "conv1d": lambda low, x, W, b, K: F.conv1d(x, K, b, padding=1),
    "conv2d": lambda low, x, W, b, K: F.conv2d(x[:, :, None], K[:, :, None], b, padding="same"),
    "conv3d": lambda low, x, W, b, K: F.conv3d(x[:, :, None, None], K[:, :, None, None]),
    "conv_transpose1d": lambda low, x, W, b, K: F.conv_transpose1d(x, K, b, stride=2),
    "conv_transpose2d": lambda low, x, W, b, K: F.conv_transpose2d(x[:, :, None], K[:, :, None]),
    "attention": lambda low, x, W, b, K: F.scaled_dot_product_attention(x[:, None], (x @ W)[:, None], low[:, None]),
    "attention of torch": lambda low, x, W, b, K: F.multi_head_attention_forward(
        *(x, x, x, D, 2, W.repeat(3, 1), b.repeat(3), None, None, False, 0.0, W, b)
    )[0],
    "prelu": lambda low, x, W, b, K: F.prelu(x, b),
    "softmax": lambda low, x, W, b, K: F.softmax(low * W, -1),
    "log_softmax": lambda low, x, W, b, K: (low * W).log_softmax(-1),
    "layer_norm": lambda low, x, W, b, K: F.layer_norm(low * W, (D,)),
    "cross_entropy": lambda low, x, W, b, K: F.cross_entropy(low[0] @ W, torch.arange(4), reduction="none")[None],
    "binary_cross_entropy": lambda low, x, W, b, K: F.binary_cross_entropy_with_logits(low @ W, low, reduction="none"),
    "mse_loss": lambda low, x, W, b, K: F.mse_loss(low @ W, low, reduction="none"),
    "cdist": lambda low, x, W, b, K: torch.cdist(low, low @ W),
    "prod": lambda low, x, W, b, K: (low @ W).prod(-1),
    "cat": lambda low, x, W, b, K: torch.cat([low @ W, x], -1),
    "gelu": lambda low, x, W, b, K: F.gelu(low @ W),
    "lstm_cell": lambda low, x, W, b, K: torch.lstm_cell(
        x[:, 0], [x[:, 1], x[:, 2]], W.repeat(4, 1), W.repeat(4, 1), b.repeat(4), b.repeat(4)
    ),
    "gru_cell": lambda low, x, W, b, K: torch.gru_cell(
        x[:, 0], x[:, 1], W.repeat(3, 1), W.repeat(3, 1), b.repeat(3), b.repeat(3)
    ),
    "rnn_tanh_cell": lambda low, x, W, b, K: torch.rnn_tanh_cell(x[:, 0], x[:, 1], W, W, b, b),
    "autocast off": lambda low, x, W, b, K: torch.autocast("cpu", enabled=False)(F.linear)(x, W, b),
    "in float64": lambda low, x, W, b, K: F.linear(x.double(), W.double(), b.double()),
}


def leaves(y):
    return [y] if isinstance(y, torch.Tensor) else list(y)


def with_gradients(net, x, c, run):
    """The outputs, and the gradients of a fixed function of them."""
    net.zero_grad()
    x = x.clone().requires_grad_()
    outputs = run(x, c)
    torch.stack([y.float().square().sum() for y in outputs]).sum().backward()
    gradients = {name: value.grad.clone() for name, value in net.named_parameters() if value.grad is not None}
    return outputs, gradients | {"x": x.grad}


def compare(net, x, c, dtype=torch.bfloat16):
    """Under autocast: the dtypes of a loop, and as close to float64 as a loop is."""

    def at_once(x, c):
        return leaves(net(x, condition=c))

    def loop(x, c):
        parts = [leaves(net(x[n : n + 1], condition=c[n])) for n in range(len(c))]
        return [torch.cat(each) for each in zip(*parts, strict=True)]

    with torch.autocast("cpu", dtype):
        mine, usual = with_gradients(net, x, c, at_once), with_gradients(net, x, c, loop)
    assert not served(net)
    exact = with_gradients(net.double(), x.double(), c.double(), loop)
    net.float()
    assert [y.dtype for y in mine[0]] == [y.dtype for y in usual[0]]
    pairs = [*zip(mine[0], usual[0], exact[0], strict=True)]
    pairs += [(mine[1][name], usual[1][name], gradient) for name, gradient in exact[1].items()]
    for a, b, real in pairs:
        assert a.dtype == b.dtype
        error, limit = (a.double() - real).abs().max(), (b.double() - real).abs().max()
        assert error <= 2 * limit + 2 * EPSILON * real.abs().max()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_have_the_dtypes_of_a_loop(name):
    net = hn.HyperNetwork(Applied(FUNCTIONS[name]), hn.FullGenerator(C, hidden=()), ["W", "b", "K"])
    shake(net)
    compare(net, torch.randn(B, D, D), torch.randn(B, C))


class Keeping(nn.Module):
    """Runs a module with its weights made."""

    def __init__(self, own):
        super().__init__()
        self.own, self.scale = own, nn.Parameter(torch.ones(1))

    def forward(self, x):
        return leaves(self.own(x))[0] * self.scale.neg().neg()


MODULES = {
    "perceptron": lambda: nn.Sequential(nn.Linear(D, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, D), nn.Softmax(-1)),
    "convolutions": lambda: nn.Sequential(
        nn.Conv1d(D, 8, 3, padding=1),
        nn.GroupNorm(2, 8),
        nn.SiLU(),
        nn.ConvTranspose1d(8, D, 2),
        nn.BatchNorm1d(D).eval(),
    ),
    "attention": lambda: nn.TransformerEncoderLayer(D, 2, 8, dropout=0.0, batch_first=True),
    "LSTM": lambda: nn.LSTM(D, 5, batch_first=True),
    "GRU": lambda: nn.GRU(D, 5, batch_first=True),
    "RNN": lambda: nn.RNN(D, 5, batch_first=True),
    "LSTM of this library": lambda: hn.LSTM(D, 5, batch_first=True),
}


@pytest.mark.parametrize("name", MODULES)
def test_every_module_of_a_target_returns_the_dtype_of_a_loop(name):
    """Hooks see what each module returns."""
    net = hn.HyperNetwork(Keeping(MODULES[name]()), hn.LowRankGenerator(C, rank=2))
    shake(net)
    x, c = torch.randn(B, D, D), torch.randn(B, C)
    if name != "LSTM":  # torch has kernels in bfloat16 on some CPUs only
        compare(net, x, c)
    seen = []
    for module in net.target.modules():
        module.register_forward_hook(lambda module, args, out: seen.append((type(module), leaves(out)[0].dtype)))
    with torch.autocast("cpu", torch.bfloat16):
        net(x, condition=c)
        mine = [*seen]
        seen.clear()
        if name == "LSTM":
            assert (nn.LSTM, torch.bfloat16) in mine
        else:
            net(x[:1], condition=c[0])
            assert mine == seen
    if name not in ("GRU", "LSTM of this library"):  # their states stay in float32
        assert torch.bfloat16 in dict(mine).values()


def test_autocast_in_float16_and_inside_of_the_target():
    seen = []

    def inside(low, x, W, b, K):
        with torch.autocast("cpu", torch.float16):
            y = F.linear(x, W, b)
        seen.append(y.dtype)
        return y + F.linear(x, W)

    net = hn.HyperNetwork(Applied(inside), hn.FullGenerator(C, hidden=()), ["W", "b"])
    shake(net)
    compare(net, torch.randn(B, D, D), torch.randn(B, C))
    assert seen.count(torch.float16) == 1 + B  # vmap, and a loop
    assert set(seen) == {torch.float16, torch.float64}


# what the documentation of PyTorch says, "Autocast Op Reference"
DOCUMENTED = {
    "lower": {
        "cuda": [
            torch.matmul,
            torch.addbmm,
            torch.Tensor.__matmul__,
            F.linear,
            F.conv2d,
            torch.bmm,
            torch.chain_matmul,
            torch.lstm_cell,
            torch.gru_cell,
            F.prelu,
            F.conv_transpose3d,
            torch.mv,
        ],
        "cpu": [
            F.conv1d,
            F.conv3d,
            torch.bmm,
            torch.mm,
            torch.baddbmm,
            torch.addmm,
            torch.addbmm,
            F.linear,
            torch.matmul,
        ],
        "xpu": [torch.addbmm, F.linear, F.conv3d, torch.mv],
    },
    "float32": {
        "cuda": [
            torch.Tensor.__pow__,
            torch.acos,
            F.binary_cross_entropy_with_logits,
            torch.cdist,
            torch.cumsum,
            torch.exp,
            F.group_norm,
            F.layer_norm,
            torch.log_softmax,
            F.mse_loss,
            torch.norm,
            F.softmax,
            torch.sum,
            torch.Tensor.sum,
            torch.Tensor.softmax,
            F.softplus,
            torch.rsqrt,
            F.smooth_l1_loss,
            torch.prod,
        ],
        "cpu": [
            F.avg_pool3d,
            F.binary_cross_entropy,
            torch.grid_sampler,
            torch.prod,
            torch.quantile,
            torch.stft,
            torch.cdist,
            torch.trace,
            torch.fft.fft,
            torch.linalg.svd,
            torch.linalg.inv,
            F.mse_loss,
            F.kl_div,
        ],
        "xpu": [torch.exp, F.layer_norm, torch.Tensor.__pow__],
    },
    "widest": {
        "cuda": [
            torch.addcdiv,
            torch.addcmul,
            torch.atan2,
            F.bilinear,
            torch.cross,
            torch.dot,
            torch.scatter_add,
            torch.index_put,
            torch.tensordot,
        ],
        "cpu": [torch.stack, torch.cat, torch.index_copy],
        "xpu": [torch.addcmul, torch.tensordot],
    },
    None: {
        "cpu": [F.softmax, F.layer_norm, torch.exp, torch.sum, F.gelu, torch.add],
        "cuda": [F.relu, F.gelu, torch.add, torch.mul, torch.cat, torch.stack],
        "xpu": [F.relu, torch.mul],
    },
}


@pytest.mark.parametrize("device", ["cpu", "cuda", "xpu"])
@pytest.mark.parametrize("rule", DOCUMENTED)
def test_the_rules_are_those_of_the_documentation(rule, device):
    found = {function: rule_of(function, device) for function in DOCUMENTED[rule][device]}
    assert {function: each for function, each in found.items() if each != rule} == {}


NORMS = {
    "layer_norm": lambda: nn.Sequential(nn.Linear(D, D), nn.LayerNorm(D)),
    "group_norm": lambda: nn.Sequential(nn.Conv1d(D, 8, 3, padding=1), nn.GroupNorm(2, 8)),
    "batch_norm": lambda: nn.Sequential(nn.Conv1d(D, 8, 3, padding=1), nn.BatchNorm1d(8)),
    "between layers": MODULES["convolutions"],
}


@pytest.mark.parametrize("name", NORMS)
def test_a_compiled_call_has_the_dtypes_and_numbers_of_one_that_is_not(name):
    """Both make the weights: here forms cannot be applied, and a compiled call never applies them."""

    class Both(Keeping):
        def forward(self, x):
            return super().forward(x), self.own(x)

    torch._dynamo.reset()
    net = hn.HyperNetwork(Both(NORMS[name]()), hn.LowRankGenerator(C, rank=2))
    shake(net)
    x, c = torch.randn(B, D, D), torch.randn(B, C)
    run = torch.compile(net, backend="eager", fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16):
        mine = with_gradients(net, x, c, lambda x, c: leaves(run(x, condition=c)))
        expected = with_gradients(net, x, c, lambda x, c: leaves(net(x, condition=c)))
    assert not served(net)
    assert [y.dtype for y in mine[0]] == [torch.float32, torch.bfloat16]
    torch.testing.assert_close(mine, expected, rtol=0, atol=0)


@pytest.mark.parametrize("operation", [torch.add, torch.mul, torch.sub, torch.div])
def test_a_number_does_not_promote_an_activation(operation):
    """As a parameter without dimensions does not for one sample."""

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.t = nn.Linear(D, D), nn.Parameter(torch.tensor(1.5))

        def forward(self, x):
            return operation(self.linear(x), self.t)

    net = hn.HyperNetwork(Scaled(), hn.FullGenerator(C))
    shake(net)
    x, c = torch.randn(B, D), torch.randn(B, C)
    with torch.autocast("cpu", torch.bfloat16):
        y = net(x, condition=c)
        expected = torch.cat([net(x[n : n + 1], condition=c[n]) for n in range(B)])
    assert served(net)
    assert y.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(y, expected, rtol=4 * EPSILON, atol=4 * EPSILON)
