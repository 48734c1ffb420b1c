"""Which parameters are selected: several selections at once, tied names, and parameters that cannot be generated."""

import pickle

import pytest
import torch
from torch import nn

import hypernetworks as hn

from .targets import C, ResidualBlock, close, mlp, shake


class Tied(nn.Module):
    """A table of embeddings that also serves as the output layer, as in GPT-2."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Embedding(7, 4, dtype=torch.float64)
        self.decoder = nn.Linear(4, 7, dtype=torch.float64)
        self.decoder.weight = self.encoder.weight

    def forward(self, x):
        return self.decoder(self.encoder(x))


class TwoPaths(nn.Module):
    """A layer registered under two names."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1)
        self.features = nn.Sequential(self.conv, nn.ReLU())

    def forward(self, x):
        return self.features(x)


@pytest.mark.parametrize(
    ("modules", "names"),
    [
        (["0.*", "*.bias"], ["0.weight", "0.bias", "2.bias"]),
        (("2.weight",), ["2.weight"]),
        ((nn.Conv2d, "2.bias", lambda name, module: name == "0"), ["0.weight", "0.bias", "2.bias"]),
        ([(nn.Linear, "2.bias"), "0.weight"], ["0.weight", "0.bias", "2.weight", "2.bias"]),
    ],
)
def test_several_selections(modules, names):
    assert list(hn.HyperNetwork(mlp(), hn.FullGenerator(C), modules).generator.names) == names


@pytest.mark.parametrize("modules", [["0.*", "3.*"], ("3.*", nn.Linear)])
def test_each_of_several_globs_selects_something(modules):
    with pytest.raises(ValueError, match=r"modules='3\.\*' selects no parameter of Sequential: .* 0\.weight, 0\.bias"):
        hn.HyperNetwork(mlp(), hn.FullGenerator(C), modules)


@pytest.mark.parametrize("modules", [(), [], ["0.*", 3], int])
def test_what_is_no_selection(modules):
    with pytest.raises(
        TypeError, match="modules should be a module type, a glob, a predicate, a tuple of these, or None"
    ):
        hn.HyperNetwork(mlp(), hn.FullGenerator(C), modules)


@pytest.mark.parametrize(
    "modules",
    ["encoder.weight", "decoder.weight", "decoder", nn.Linear, nn.Embedding, lambda name, module: name == "decoder"],
)
def test_a_tied_parameter_is_selected_by_any_of_its_names(modules):
    net = hn.HyperNetwork(Tied(), hn.LowRankGenerator(C, rank=2), modules)
    assert "encoder.weight" in net.generator.names
    shake(net)
    c, x = torch.randn(C, dtype=torch.float64), torch.tensor([[1, 4, 6]])
    made = net.generate(c)
    W, b = made["encoder.weight"], made.get("decoder.bias", net.target.decoder.bias)
    close(net(x, condition=c), W[x] @ W.T + b)


def test_a_module_with_two_names_is_selected_by_either():
    for name in ("conv.*", "features.0.weight"):
        net = hn.HyperNetwork(TwoPaths(), hn.FullGenerator(C), name)
        assert net.generator.names[0] == "conv.weight"


def test_parameters_that_cannot_be_generated():
    with pytest.raises(ValueError, match="0, a LazyLinear, has no parameters yet: call the target once on an input"):
        hn.HyperNetwork(nn.Sequential(nn.LazyLinear(3)), hn.FullGenerator(C))
    whole = nn.Module()
    whole.scale, whole.table = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3, dtype=torch.int8), False)
    with pytest.raises(TypeError, match=r"should be floating point, but table is torch\.int8"):
        hn.HyperNetwork(whole, hn.FullGenerator(C))
    assert hn.HyperNetwork(whole, hn.FullGenerator(C), "scale").generator.names == ("scale",)


def test_a_split_by_predicates_can_be_pickled():
    parts = {
        (lambda name, module: isinstance(module, nn.Conv2d)): hn.LowRankGenerator(C, rank=2),
        None: hn.FullGenerator(C),
    }
    net = hn.HyperNetwork(ResidualBlock(), hn.GeneratorSplit(parts))
    shake(net)
    twin, c = pickle.loads(pickle.dumps(net)), torch.randn(2, C, dtype=torch.float64)
    for name, tensor in net.generate(c).items():
        assert torch.equal(twin.generate(c)[name], tensor)
