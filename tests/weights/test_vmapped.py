"""Targets for which weights per sample are made, under vmap: the same numbers as a loop, and as torch's own layers."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import hypernetworks as hn

from .loops import in_a_loop, same_as_in_a_loop, served
from .targets import C, close, shake

B = 4
double = {"dtype": torch.float64}
GENERATORS = {
    "full": lambda: hn.FullGenerator(C),
    "low-rank": lambda: hn.LowRankGenerator(C, rank=2),
    "row-scale": lambda: hn.RowScaleGenerator(C),
}


class Standardised(nn.Conv2d):
    """Weights of mean 0 and variance 1 for each output, by F.batch_norm, as in timm.

    `gain` multiplies them. How the weight is given to F.batch_norm differs from library to library.
    """

    def __init__(self, *args, how="reshaped", **own):
        super().__init__(*args, **own)
        self.gain = nn.Parameter(torch.ones(self.out_channels, **double))
        self.how = how
        self.register_buffer("mean", torch.zeros(self.out_channels, **double))
        self.register_buffer("var", torch.ones(self.out_channels, **double))

    def forward(self, x):
        own = self.weight.reshape(1, self.out_channels, -1)
        if self.how == "in two steps":
            own = torch.cat([own, own * torch.ones(1, **double)], -1) + 0.0 * self.gain.sum()
        gain = self.gain * 0.5 if self.how != "no gain" else None
        own = F.batch_norm(own, None, None, weight=gain, training=True, momentum=0.0, eps=1e-6)
        return F.conv2d(x, own[..., : self.weight[0].numel()].reshape(self.weight.shape), self.bias, padding=1)


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("how", ["reshaped", "in two steps", "no gain"])
@pytest.mark.parametrize("generator", GENERATORS)
def test_statistics_of_weights_are_those_of_each_sample(generator, how, train):
    target = nn.Sequential(
        Standardised(3, 4, 3, how=how, **double), nn.ReLU(), Standardised(4, 2, 3, how=how, **double)
    )
    net = hn.HyperNetwork(target, GENERATORS[generator]()).train(train)
    shake(net)
    same_as_in_a_loop(net, [torch.randn(B, 3, 5, 5, **double)], torch.randn(B, C, **double))
    assert not served(net)


def test_statistics_of_activations_are_those_of_all_samples_beside_those_of_weights():
    """The block written out. Also where a BatchNorm without running statistics calls F.batch_norm as weights do."""
    norm = nn.BatchNorm2d(4, track_running_stats=False, **double)
    net = hn.HyperNetwork(nn.Sequential(Standardised(3, 4, 3, **double), norm), hn.LowRankGenerator(C, rank=2))
    shake(net)
    x, c = torch.randn(B, 3, 5, 5, **double), torch.randn(B, C, **double)
    parts = []
    made = net.generate(c)
    for n in range(B):
        own = F.batch_norm(
            made["0.weight"][n].reshape(1, 4, -1), None, None, made["0.gain"][n] * 0.5, None, True, 0.0, 1e-6
        )
        parts.append(F.conv2d(x[n : n + 1], own.reshape(4, 3, 3, 3), made["0.bias"][n], padding=1))
    y = F.batch_norm(torch.cat(parts), None, None, training=True)
    y = y * made["1.weight"][:, :, None, None] + made["1.bias"][:, :, None, None]
    close(net(x, condition=c), y)


class Alone(nn.Module):
    """A module that does arithmetic on a weight, so that its weights are made."""

    def __init__(self, own, channels=4):
        super().__init__()
        self.own, self.scale = own, nn.Parameter(torch.ones(channels, **double))

    def forward(self, x):
        y = self.own(x)
        return y * self.scale.neg().neg().view(1, -1, *(1,) * (y.dim() - 2))


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(
    "norm",
    [
        lambda: nn.BatchNorm2d(4, **double),
        lambda: nn.BatchNorm2d(4, track_running_stats=False, **double),
        lambda: nn.BatchNorm2d(4, momentum=None, affine=False, **double),
        lambda: nn.InstanceNorm2d(4, **double),
        lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True, **double),
        lambda: nn.InstanceNorm2d(4, track_running_stats=True, **double),
    ],
    ids=["batch", "batch, no statistics", "batch, mean", "instance", "instance, affine", "instance, statistics"],
)
def test_equal_weights_for_all_give_what_the_plain_norm_gives(norm, train):
    plain = Alone(nn.Sequential(nn.Conv2d(3, 4, 3, **double), norm())).train(train)
    net = hn.HyperNetwork(copy.deepcopy(plain), hn.LowRankGenerator(C, rank=2)).train(train)
    for _ in range(2):
        x, c = torch.randn(B, 3, 5, 5, **double), torch.randn(B, C, **double)
        close(net(x, condition=c), plain(x))
    assert not served(net)
    for mine, theirs in zip(net.target.buffers(), plain.buffers(), strict=True):
        close(mine.double(), theirs.double())


def test_rrelu():
    net = hn.HyperNetwork(Alone(nn.Sequential(nn.Linear(5, 4, **double), nn.RReLU())), hn.FullGenerator(C))
    shake(net)
    x, c = torch.randn(B, 5, **double), torch.randn(B, C, **double)
    y = net(x, condition=c)
    assert not served(net)
    made = net.generate(c)
    z = torch.einsum("noi,ni->no", made["own.0.weight"], x) + made["own.0.bias"]
    slope = y / made["scale"] / z
    assert ((slope - 1).abs() < 1e-9)[z >= 0].all()
    assert ((slope >= 1 / 8) & (slope <= 1 / 3))[z < 0].all()
    assert len(set(slope[z < 0].tolist())) > 1
    net.eval()
    same_as_in_a_loop(net, [x], c)


class Attention(nn.Module):
    """Attention to itself, with a mask or not."""

    def __init__(self, heads=2, causal=False):
        super().__init__()
        self.qkv, self.heads, self.causal = nn.Linear(4, 12, **double), heads, causal

    def forward(self, x, mask=None):
        if self.causal:
            mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        matrix = self.qkv.weight * 1.0  # arithmetic on a weight
        q, k, v = F.linear(x, matrix, self.qkv.bias).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2)


@pytest.mark.parametrize("mask", [None, "causal", "of each sample"])
def test_attention_is_one_call(mask):
    net = hn.HyperNetwork(Attention(causal=mask == "causal"), hn.LowRankGenerator(C, rank=2))
    shake(net)
    x, c = torch.randn(B, B, 4, **double), torch.randn(B, C, **double)
    args = [x]
    if mask == "of each sample":
        allowed = torch.rand(B, 1, B, B) > 0.3
        args.append(allowed | torch.eye(B, dtype=torch.bool))
    same_as_in_a_loop(net, args, c)
    assert not served(net)


@pytest.mark.parametrize("generator", GENERATORS)
def test_autocast_under_vmap(generator):
    target = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))
    net = hn.HyperNetwork(Alone(target, 5).float(), GENERATORS[generator]())
    shake(net)
    x, c = torch.randn(B, 3, 4, 4), torch.randn(B, C)
    exact = in_a_loop(net, [x], c)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, loop = net(x, condition=c), in_a_loop(net, [x], c)
    assert not served(net)
    assert y.dtype == loop.dtype
    assert (y - exact).abs().max() < 0.04 * exact.abs().max()
    assert (y - exact).abs().max() > 1e-5 * exact.abs().max()  # it ran in bfloat16
    y.float().sum().backward()


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints_under_vmap_are_refused(reentrant):
    net = hn.HyperNetwork(Attention(), hn.LowRankGenerator(C, rank=2))
    plain = net.target.forward
    net.target.forward = lambda x: checkpoint(plain, x, use_reentrant=reentrant)
    with pytest.raises(RuntimeError, match=r"Attention cannot run with weights for each sample.*A loop always can"):
        net(torch.randn(B, 3, 4, requires_grad=True, **double), condition=torch.randn(B, C, **double))


def test_a_checkpoint_around_the_whole_call():
    net = hn.HyperNetwork(Attention(), hn.LowRankGenerator(C, rank=2))
    shake(net)
    x, c = torch.randn(B, 3, 4, **double), torch.randn(B, C, **double)
    y = checkpoint(lambda x, c: net(x, condition=c), x, c, use_reentrant=False)
    y.sum().backward()
    mine = [parameter.grad.clone() for parameter in net.generator.parameters()]
    net.zero_grad()
    net(x, condition=c).sum().backward()
    for a, b in zip(mine, net.generator.parameters(), strict=True):
        close(a, b.grad)


def test_spectral_norm_in_training_is_refused_and_right_in_evaluation():
    linear = nn.utils.parametrizations.spectral_norm(nn.Linear(5, 4, **double))
    net = hn.HyperNetwork(linear, hn.LowRankGenerator(C, rank=2))
    shake(net)
    x, c = torch.randn(B, 5, **double), torch.randn(B, C, **double)
    with pytest.raises(RuntimeError, match=r"cannot run with weights for each sample.*A loop always can"):
        net(x, condition=c)
    same_as_in_a_loop(net.eval(), [x], c)


def test_an_assigned_buffer_that_differs_between_samples_is_refused():
    class Keeps(Attention):
        def __init__(self):
            super().__init__()
            self.register_buffer("last", torch.zeros(1, **double))

        def forward(self, x):
            self.last = x.detach().sum()
            return super().forward(x)

    net = hn.HyperNetwork(Keeps(), hn.LowRankGenerator(C, rank=2))
    with pytest.raises(ValueError, match="the buffer last would differ between the samples"):
        net(torch.randn(B, 3, 4, **double), condition=torch.randn(B, C, **double))
    assert net.target.last.shape == (1,)


class Conditioned(nn.Module):
    """Exported programs have positional arguments."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, c):
        return self.net(x, condition=c)


@pytest.mark.parametrize("generator", GENERATORS)
def test_export(generator):
    net = hn.HyperNetwork(nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8)), GENERATORS[generator]()).eval()
    shake(net)
    args = torch.randn(B, 5), torch.randn(B, C)
    program = torch.export.export(Conditioned(net), args, strict=False)
    torch.testing.assert_close(program.module()(*args), Conditioned(net)(*args))
    with pytest.raises(Exception, match="strict=False"):
        torch.export.export(Conditioned(net), args, strict=True)
