"""Named settings of the vision experiment, each with plain and with generated kernels: for two cores, and those of the paper.

The paper is Ha, Dai and Le, "HyperNetworks", arXiv 1609.09106. MNIST: Adam at 1e-3, batches of 1000. The number of steps is not
printed; here it is 200 epochs. CIFAR-10: batches of 128, Nesterov SGD for plain kernels, Adam for generated ones, step decay.
The weight decay of the plain nets is not printed; here it is 5e-4, as in the wide residual nets of Zagoruyko and Komodakis.
"""

from dataclasses import replace
from typing import Final

from hypernetworks.training.schedule import Schedule
from hypernetworks.vision.config import VisionConfig
from hypernetworks.vision.models import ImageModelConfig, Kernels


def _both(config: VisionConfig, generated: Schedule) -> dict[Kernels, VisionConfig]:
    """The configuration for plain kernels, and the one for generated kernels, which has its own schedule."""
    model = replace(config.model, kernels="generated")
    return {"plain": config, "generated": replace(config, model=model, schedule=generated)}


def _paper_wrn(width: int) -> dict[Kernels, VisionConfig]:
    in_steps = Schedule(decay="steps", decay_steps=(1,), decay_rates=(1.0,), final_fraction=1.0, warmup=0, clip=0.0)
    plain = replace(
        in_steps,
        steps=140_000,
        optimizer="sgd",
        learning_rate=0.1,
        decay_steps=(28_000, 56_000, 84_000, 112_000),
        decay_rates=(0.02, 0.004, 0.0008, 0.00016),
        weight_decay=5e-4,
        evaluate_every=1000,
        log_every=100,
    )
    generated = replace(
        plain,
        steps=672_000,
        optimizer="adam",
        learning_rate=0.002,
        decay_steps=(168_000, 336_000, 504_000),
        decay_rates=(0.001, 0.0002, 0.00005),
        weight_decay=0.0,
    )
    model = ImageModelConfig(depth=40, width=width, embedding_size=64)
    return _both(VisionConfig("cifar10", model, plain, batch_size=128), generated)


_MNIST = Schedule(steps=8250, learning_rate=3e-3, warmup=100, final_fraction=0.0, weight_decay=0.1, evaluate_every=550)
_MNIST_PAPER = Schedule(
    steps=11_000, learning_rate=1e-3, warmup=0, final_fraction=1.0, weight_decay=0.0, clip=0.0, evaluate_every=55
)
_CIFAR = Schedule(steps=2940, learning_rate=4e-3, warmup=50, final_fraction=0.0, weight_decay=0.05, evaluate_every=98)

PRESETS: Final[dict[str, dict[Kernels, VisionConfig]]] = {
    "mnist": _both(VisionConfig("mnist", ImageModelConfig(), _MNIST, batch_size=100), _MNIST),
    "cifar10": _both(
        VisionConfig("cifar10", ImageModelConfig(depth=16, embedding_size=64), _CIFAR, batch_size=64), _CIFAR
    ),
    "paper-mnist": _both(VisionConfig("mnist", ImageModelConfig(), _MNIST_PAPER, batch_size=1000), _MNIST_PAPER),
    "paper-wrn-40-1": _paper_wrn(width=1),
    "paper-wrn-40-2": _paper_wrn(width=2),
}
"""The settings of `--preset`, by kind of kernels. Other flags override them."""

PRESETS_IN_WORDS: Final = {
    "mnist": "a small convolutional net, 8250 steps, for two cores",
    "cifar10": "a wide residual net of depth 16, 2940 steps, for two cores",
    "paper-mnist": "the paper's settings for MNIST, 11,000 steps",
    "paper-wrn-40-1": "the paper's wide residual net 40-1 for CIFAR-10",
    "paper-wrn-40-2": "the paper's wide residual net 40-2 for CIFAR-10",
}
"""What `--help` says of each."""
