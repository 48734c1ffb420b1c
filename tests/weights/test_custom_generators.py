"""Generators of one's own that return other shapes than they should, or some tensors that are the same for all samples."""

import pytest
import torch

import hypernetworks as hn

from .targets import C, close, mlp

B = 4


class Shaped(hn.Generator):
    """Returns the target's own tensors, changed."""

    condition_size = C

    def __init__(self, change):
        super().__init__()
        self.change = change

    def build(self, weights):
        pass

    def forward(self, condition, base):
        return {name: self.change(name, tensor, condition) for name, tensor in base.items()}


@pytest.mark.parametrize(
    ("change", "size", "message"),
    [
        (
            lambda name, tensor, c: tensor,
            (B, C),
            r"2\.bias of shape \(4, 4\) for a condition of shape \(4, 3\), got \(4,\): all samples would have the same",
        ),
        (
            lambda name, tensor, c: tensor,
            (1, C),
            r"2\.bias of shape \(1, 4\) for a condition of shape \(1, 3\), got \(4,\): all samples would have the same",
        ),
        (
            lambda name, tensor, c: tensor.expand(B + 1, *tensor.shape),
            (B, C),
            r"0\.weight of shape \(4, 8, 5\) for a condition of shape \(4, 3\), got \(5, 8, 5\)$",
        ),
        (
            lambda name, tensor, c: tensor.expand(B, *tensor.shape) if name == "0.weight" else tensor.flatten()[1:],
            (B, C),
            r"0\.bias of shape \(4, 8\) for a condition of shape \(4, 3\), got \(7,\)$",
        ),
        (
            lambda name, tensor, c: tensor.unsqueeze(0),
            (C,),
            r"0\.weight of shape \(8, 5\) for a condition of shape \(3,\), got \(1, 8, 5\)$",
        ),
    ],
)
def test_a_generator_that_returns_other_shapes(change, size, message):
    net = hn.HyperNetwork(mlp(), Shaped(change))
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(size, dtype=torch.float64)
    for call in (lambda: net(x[: len(c)], condition=c), lambda: net.generate(c)):
        with pytest.raises(ValueError, match=f"^Shaped should return {message}"):
            call()


def test_a_generator_that_returns_other_shapes_without_a_condition():
    generator = Shaped(lambda name, tensor, c: tensor[:1])
    generator.condition_size = None
    net = hn.HyperNetwork(mlp(), generator)
    with pytest.raises(ValueError, match=r"Shaped should return 0\.weight of shape \(8, 5\), got \(1, 5\)$"):
        net(torch.randn(B, 5, dtype=torch.float64))


def test_a_generator_of_some_tensors_that_are_the_same_for_all_samples():
    def change(name, tensor, c):
        return tensor + c.sum(-1).reshape(*c.shape[:-1], *[1] * tensor.dim()) if name == "0.weight" else tensor

    net = hn.HyperNetwork(mlp(), Shaped(change))
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(B, C, dtype=torch.float64)
    expected = torch.cat([net(x[n : n + 1], condition=c[n]) for n in range(B)])
    close(net(x, condition=c), expected)
    close(net(x, weights=net.generate(c)), expected)
