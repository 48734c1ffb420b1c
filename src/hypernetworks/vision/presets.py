"""Settings that go together, by name, each with plain and with generated kernels: for two cores, and the paper's own.

The paper's: Ha, Dai and Le, "HyperNetworks", arXiv 1609.09106. MNIST: Adam at 1e-3, batches of 1000; its number of steps is not
printed, 200 epochs here. CIFAR-10: batches of 128, Nesterov SGD with plain kernels, Adam with generated ones, rates in steps.
The weight decay of its plain nets is not printed: 5e-4, as wide residual nets have it.
"""

from dataclasses import replace
from typing import Final

from hypernetworks.training.schedule import Schedule
from hypernetworks.vision.config import VisionConfig
from hypernetworks.vision.models import Kernels, ModelConfig


def _both(config: VisionConfig, generated: Schedule) -> dict[Kernels, VisionConfig]:
    """The config, and the same with generated kernels and their own schedule."""
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
    model = ModelConfig("wrn", depth=40, width=width, embedding_size=64)
    return _both(VisionConfig("cifar10", model, plain, batch_size=128), generated)


_MNIST = Schedule(steps=8250, learning_rate=3e-3, warmup=100, final_fraction=0.0, weight_decay=0.1, evaluate_every=550)
_MNIST_PAPER = Schedule(
    steps=11_000, learning_rate=1e-3, warmup=0, final_fraction=1.0, weight_decay=0.0, clip=0.0, evaluate_every=55
)
_CIFAR = Schedule(steps=2940, learning_rate=4e-3, warmup=50, final_fraction=0.0, weight_decay=0.05, evaluate_every=98)

PRESETS: Final[dict[str, dict[Kernels, VisionConfig]]] = {
    "mnist": _both(VisionConfig("mnist", ModelConfig(), _MNIST, batch_size=100), _MNIST),
    "cifar10": _both(
        VisionConfig("cifar10", ModelConfig("wrn", depth=16, embedding_size=64), _CIFAR, batch_size=64), _CIFAR
    ),
    "mnist-paper": _both(VisionConfig("mnist", ModelConfig(), _MNIST_PAPER, batch_size=1000), _MNIST_PAPER),
    "wrn-40-1-paper": _paper_wrn(width=1),
    "wrn-40-2-paper": _paper_wrn(width=2),
}
"""Settings for `--preset`; every flag given beside it counts more."""
