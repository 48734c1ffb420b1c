"""The paper's networks: its parameter counts to the last one, and generated kernels that are the maker's equation."""

import pytest
import torch
from torch import nn

from hypernetworks.errors import UsageError
from hypernetworks.vision.config import VisionConfig
from hypernetworks.vision.models import (
    Block,
    ImageModelConfig,
    NetworkKind,
    WideResNet,
    count_parameters,
    kernel_shown,
    make_model,
)
from hypernetworks.weights import HyperNetwork


@pytest.mark.parametrize(
    ("network", "config", "parameters"),
    [
        ("conv", ImageModelConfig(), 21_210),
        ("conv", ImageModelConfig(kernels="generated"), 21_210 - 12_544 + 4_240 + 4),
        ("wrn", ImageModelConfig(depth=40), 562_730),
        ("wrn", ImageModelConfig(depth=40, width=2), 2_235_498),
        ("wrn", ImageModelConfig("generated", depth=40, embedding_size=64), 96_570),
        ("wrn", ImageModelConfig("generated", depth=40, width=2, embedding_size=64), 147_578),
    ],
)
def test_the_parameters_are_the_papers(network: NetworkKind, config: ImageModelConfig, parameters: int) -> None:
    assert count_parameters(network, config) == parameters


@pytest.mark.parametrize(("width", "maker", "tiles"), [(1, 91_408, 242), (2, 137_744, 966)])
def test_the_maker_and_its_embeddings_have_the_papers_sizes(width: int, maker: int, tiles: int) -> None:
    """W_i and B_i for 16 channels, W_out and B_out for 16 filters of 3 × 3, z for each tile of the 36 kernels."""
    net = make_model("wrn", ImageModelConfig("generated", depth=40, width=width, embedding_size=64))
    assert isinstance(net, HyperNetwork)
    assert sum(parameter.numel() for parameter in net.generator.parameters()) == maker
    assert maker == 16 * (64 * 64 + 64) + 144 * (64 + 1) + 64 * tiles
    made = net.generate()
    assert len(made) == 36
    assert {name.split(".")[0] for name in made} == {"groups"}
    assert sum(kernel.numel() for kernel in made.values()) == tiles * 16 * 16 * 9


@pytest.mark.parametrize("kernels", ["plain", "generated"])
@pytest.mark.parametrize(("network", "shape"), [("conv", (3, 1, 28, 28)), ("wrn", (3, 3, 32, 32))])
def test_ten_logits_come_out_and_every_parameter_learns(network: str, shape: tuple[int, ...], kernels: str) -> None:
    net = make_model(network, ImageModelConfig(kernels, depth=10, embedding_size=4))  # type: ignore[arg-type]
    logits = net(torch.randn(shape))
    assert logits.shape == (3, 10)
    logits.square().sum().backward()
    learned = [(name, parameter.grad) for name, parameter in net.named_parameters() if parameter.requires_grad]
    assert all(gradient is not None and gradient.abs().max() > 0 for _, gradient in learned)


def test_a_block_equals_its_equation_done_by_hand() -> None:
    """In float64, norms in evaluation mode with statistics of their own; at stride 2 with more channels, and without either."""
    for C_in, C_out, stride in ((3, 5, 2), (4, 4, 1), (2, 6, 1)):
        block = Block(C_in, C_out, stride).double()
        for norm in (block.norm1, block.norm2):
            for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                nn.init.uniform_(tensor, 0.5, 2)  # type: ignore[arg-type]
        block.eval()
        x = torch.randn(2, C_in, 6, 6, dtype=torch.float64)

        def normed(norm: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
            gain = (norm.weight / (norm.running_var + norm.eps).sqrt()).view(-1, 1, 1)  # type: ignore[operator]
            return (gain * (x - norm.running_mean.view(-1, 1, 1)) + norm.bias.view(-1, 1, 1)).clamp(min=0)  # type: ignore[union-attr]

        y = block.conv2(normed(block.norm2, block.conv1(normed(block.norm1, x))))
        y[:, :C_in] += x[:, :, ::stride, ::stride]
        torch.testing.assert_close(block(x), y, rtol=1e-12, atol=1e-12)


def test_generated_kernels_are_used_as_kernels() -> None:
    """The plain net with the generated kernels put in answers the same."""
    net = make_model("wrn", ImageModelConfig("generated", depth=10, embedding_size=3)).eval()
    assert isinstance(net, HyperNetwork)
    plain = WideResNet(10, 1).eval()
    plain.load_state_dict(net.target.state_dict() | net.generate())
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(net(images), plain(images), rtol=1e-5, atol=1e-5)
    assert torch.equal(kernel_shown(net), net.generate()["groups.0.0.conv2.weight"])
    assert torch.equal(kernel_shown(plain), kernel_shown(net))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ImageModelConfig(depth=18), r"depth should be 6n \+ 4 .*, got 18"),
        (lambda: ImageModelConfig(depth=4), r"depth should be 6n \+ 4 .*, got 4"),
        (lambda: ImageModelConfig(kernels="made"), "kernels should be plain or generated, got 'made'"),  # type: ignore[arg-type]
        (lambda: ImageModelConfig(width=0), "width should be at least 1, got 0"),
        (lambda: ImageModelConfig(embedding_size=0), "embedding_size should be at least 1, got 0"),
        (lambda: VisionConfig("cifar"), "data should be mnist or cifar10, got 'cifar'"),  # type: ignore[arg-type]
        (lambda: VisionConfig(batch_size=0), "batch_size should be at least 1, got 0"),
    ],
)
def test_impossible_settings_fail_when_made(make: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()  # type: ignore[operator]
