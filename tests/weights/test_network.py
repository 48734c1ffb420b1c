"""Selection, refused arguments, and a target that stays unchanged."""

import copy

import pytest
import torch
from torch import nn

import hypernetworks as hn

from .targets import C, ResidualBlock, mlp

x, c = torch.randn(4, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)


def two_blocks():
    return nn.Sequential(ResidualBlock(), ResidualBlock())


SELECTIONS = [
    (None, [f"{k}.{name}" for k in (0, 1) for name, _ in ResidualBlock().named_parameters()]),
    (nn.Conv2d, ["0.conv1.weight", "0.conv2.weight", "1.conv1.weight", "1.conv2.weight"]),
    ((nn.Conv1d, nn.BatchNorm2d), [f"{k}.bn{i}.{name}" for k in (0, 1) for i in (1, 2) for name in ("weight", "bias")]),
    ("*.bias", ["0.bn1.bias", "0.bn2.bias", "1.bn1.bias", "1.bn2.bias"]),
    ("1.conv?", ["1.conv1.weight", "1.conv2.weight"]),
    (lambda name, module: name == "0.bn2", ["0.bn2.weight", "0.bn2.bias"]),
    (
        lambda name, module, own: name.endswith("bn1") and own == "bias",
        ["0.bn1.bias", "1.bn1.bias"],
    ),
]


@pytest.mark.parametrize(("modules", "names"), SELECTIONS)
def test_selection(modules, names):
    target = two_blocks()
    target[0].conv1.weight.requires_grad_(False)
    net = hn.HyperNetwork(target, hn.FullGenerator(C), modules)
    assert list(net.generate(c)) == names
    learned = {name for name, parameter in target.named_parameters() if parameter.requires_grad}
    assert learned == {name for name, _ in target.named_parameters()} - {*names, "0.conv1.weight"}


@pytest.mark.parametrize("modules", [nn.Linear, "nothing.*", lambda name, module: False])
def test_a_selection_of_nothing(modules):
    with pytest.raises(ValueError, match=r"selects no parameter of ResidualBlock: its parameters are conv1\.weight"):
        hn.HyperNetwork(ResidualBlock(), hn.FullGenerator(C), modules)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, r"condition is missing: FullGenerator needs one of shape \(3,\) or \(batch, 3\); pass it by name"),
        (torch.zeros(4), r"condition should have shape \(3,\) or \(batch, 3\), got \(4,\)"),
        (torch.zeros(4, 2), r"got \(4, 2\)"),
        (torch.zeros(1, 4, 3), r"got \(1, 4, 3\)"),
        (torch.zeros(()), r"got \(\)"),
        (torch.zeros(5, 3), r"condition has 5 samples, but an input has shape \(4, 5\)"),
    ],
)
def test_conditions_that_do_not_fit(given, message):
    net = hn.HyperNetwork(mlp(), hn.FullGenerator(C))
    with pytest.raises(ValueError, match=message):
        net(x, condition=given if given is None else given.double())


def test_other_conditions_that_do_not_fit():
    with pytest.raises(TypeError, match=r"condition should be a tensor of shape .* got list"):
        hn.HyperNetwork(mlp(), hn.FullGenerator(C))(x, condition=[1.0, 2.0, 3.0])
    tiled = hn.HyperNetwork(nn.Conv2d(16, 16, 3), hn.TiledKernelGenerator(2), "weight")
    with pytest.raises(ValueError, match="TiledKernelGenerator takes no condition, got one"):
        tiled(torch.randn(1, 16, 4, 4), condition=torch.zeros(2))


@pytest.mark.parametrize(
    ("target", "generator", "message"),
    [
        (
            nn.Conv2d(3, 16, 3),
            hn.TiledKernelGenerator(4),
            "16 output and 3 input channels, .* multiples of the tile",
        ),
        (nn.Conv2d(16, 24, 3), hn.TiledKernelGenerator(4), "24 output and 16 input"),
        (nn.Linear(16, 16), hn.TiledKernelGenerator(4), "makes convolution kernels only, and weight is a Linear's"),
        (nn.BatchNorm2d(16), hn.TiledKernelGenerator(4), "weight is a BatchNorm2d's"),
        (nn.Linear(3, 5), hn.LowRankGenerator(C, rank=4), "rank 4 does not fit weight, a matrix of 5 by 3"),
        (
            nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 3, device="meta")),
            hn.FullGenerator(C),
            r"on one device, got 0\.weight on cpu, 1\.weight on meta: move the target",
        ),
        (nn.Linear(3, 5), hn.GeneratorSplit({"weight": hn.FullGenerator(C)}), "no generator makes bias"),
        (nn.Linear(3, 5), hn.GeneratorSplit({"no": hn.FullGenerator(C)}), "'no' selects none of the generated"),
    ],
)
def test_generators_that_cannot_make_what_is_selected(target, generator, message):
    with pytest.raises(ValueError, match=message):
        hn.HyperNetwork(target, generator)
    assert all(parameter.requires_grad for parameter in target.parameters())


def test_a_generator_makes_the_weights_of_one_target():
    generator = hn.FullGenerator(C)
    hn.HyperNetwork(mlp(), generator)
    with pytest.raises(ValueError, match="this FullGenerator is already bound to a target"):
        hn.HyperNetwork(mlp(), generator)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: hn.FullGenerator(0), ValueError, "condition_size should be at least 1, got 0"),
        (lambda: hn.FullGenerator(3, hidden=8), TypeError, "hidden should be a tuple of sizes, got 8"),
        (lambda: hn.FullGenerator(3, init="he"), ValueError, "init should be one of 'target', .* got 'he'"),
        (lambda: hn.TiledKernelGenerator(3, init="target"), ValueError, "init should be one of 'hyperfan-in'"),
        (lambda: hn.FullGenerator(3, gain=0), ValueError, "gain should be greater than 0"),
        (lambda: hn.LowRankGenerator(3, alpha=-1.0), ValueError, "alpha should be greater than 0"),
        (lambda: hn.GeneratorChain(), ValueError, "at least one generator is needed"),
        (
            lambda: hn.GeneratorChain(hn.FullGenerator(3), hn.RowScaleGenerator(4)),
            ValueError,
            "one condition_size, got 3, 4",
        ),
        (
            lambda: hn.HyperNetwork(mlp, hn.FullGenerator(3)),
            TypeError,
            "target should be a torch.nn.Module, got function",
        ),
        (
            lambda: hn.HyperNetwork(mlp(), mlp()),
            TypeError,
            "generator should be a hypernetworks.Generator, got Sequential",
        ),
        (
            lambda: hn.HyperNetwork(mlp(), hn.FullGenerator(3), 7),
            TypeError,
            "modules should be a module type, .* got 7",
        ),
    ],
)
def test_arguments_that_are_wrong(make, error, message):
    with pytest.raises(error, match=message):
        make()


def replaced(target):
    target[0].weight = nn.Parameter(target[0].weight.detach().clone())


def reshaped(target):
    target[0].weight.data = torch.zeros(8, 6, dtype=torch.float64)


def added(target):
    target[0].extra = nn.Parameter(torch.zeros(1))


def removed(target):
    target[2].bias = None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replaced, r"0\.weight was replaced"),
        (reshaped, r"0\.weight was \(8, 5\), is \(8, 6\)"),
        (added, r"added \['0\.extra'\], removed \[\]"),
        (removed, r"added \[\], removed \['2\.bias'\]"),
    ],
)
def test_a_target_that_was_changed_since(change, message):
    target = mlp()
    net = hn.HyperNetwork(target, hn.FullGenerator(C))
    net(x, condition=c)
    change(target)
    with pytest.raises(ValueError, match=f"the target has changed since it was wrapped: {message}"):
        net(x, condition=c)


@pytest.mark.parametrize("samples", [(), (4,)])
def test_a_forward_that_fails_leaves_the_target_as_it_was(samples):
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = ResidualBlock()

        def forward(self, x):
            self.block(x)
            raise RuntimeError("as planned")

    target = Fails()
    net = hn.HyperNetwork(target, hn.FullGenerator(C))
    parameters, state = dict(target.named_parameters()), copy.deepcopy(target.state_dict())
    given = torch.randn(4, 4, 3, 3, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="as planned"):
        net(given, condition=torch.randn(*samples, C, dtype=torch.float64))
    assert all(parameter is parameters[name] for name, parameter in target.named_parameters())
    assert state.keys() == target.state_dict().keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in target.state_dict().items())


def test_tied_parameters_are_made_once():
    target = nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 5)).double()
    target[2].weight = target[0].weight
    net = hn.HyperNetwork(target, hn.FullGenerator(C, init="hyperfan-in"))
    made = net.generate(c)
    assert list(made) == ["0.weight", "0.bias", "2.bias"]
    expected = (x @ made["0.weight"].T + made["0.bias"]).relu() @ made["0.weight"].T + made["2.bias"]
    assert (net(x, condition=c) - expected).abs().max() < 1e-12
