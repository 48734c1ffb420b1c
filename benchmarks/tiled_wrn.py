"""The cost of generating kernels: a training step of WRN-40-k with generated and with plain kernels, and generation alone.

    python benchmarks/tiled_wrn.py [--depth 40] [--width 1] [--batch 128] [--repeats 5] [--threads 2]

Forward and backward, float32, in turn in one process, minimum of the repeats. Memory is the growth of the resident set after
a first step, in a separate process for each network (Linux only).
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from hypernetworks.bench.memory import growth, is_measurable
from hypernetworks.bench.timing import time_in_turn
from hypernetworks.doctor import processor
from hypernetworks.vision.models import ImageModelConfig, count_parameters, make_model
from hypernetworks.weights import HyperNetwork

KERNELS = ("plain", "generated")


def config(kernels: str, depth: int, width: int) -> ImageModelConfig:
    return ImageModelConfig("plain" if kernels == "plain" else "generated", depth, width, embedding_size=64)


def training_step(model: torch.nn.Module, batch: int) -> Callable[[], None]:
    images, labels = torch.randn(batch, 3, 32, 32), torch.randint(10, (batch,))

    def step() -> None:
        model.zero_grad(set_to_none=True)
        F.cross_entropy(model(images), labels).backward()

    return step


def generation(model: HyperNetwork) -> Callable[[], None]:
    def generate() -> None:
        model.zero_grad(set_to_none=True)
        torch.stack([kernel.sum() for kernel in model.generate().values()]).sum().backward()

    return generate


def memory(kernels: str, options: argparse.Namespace) -> int:
    """Measured by this script in a separate process."""
    given = [f"--{name}={getattr(options, name)}" for name in ("depth", "width", "batch", "threads")]
    command = [sys.executable, str(Path(__file__)), *given, "--memory-of", kernels]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, default in (("depth", 40), ("width", 1), ("batch", 128), ("repeats", 5), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--memory-of", choices=KERNELS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        step = training_step(make_model("wrn", config(options.memory_of, options.depth, options.width)), options.batch)
        step()
        print(growth(step))
        return
    models = {kernels: make_model("wrn", config(kernels, options.depth, options.width)) for kernels in KERNELS}
    runs = {kernels: training_step(model, options.batch) for kernels, model in models.items()}
    generated = models["generated"]
    assert isinstance(generated, HyperNetwork)
    runs["generation alone"] = generation(generated)
    for run in runs.values():
        run()
    seconds = {name: min(times) for name, times in time_in_turn(runs, options.repeats).items()}
    print(f"{processor()}, {options.threads} threads, torch {torch.__version__}, batch {options.batch}")
    for name, time in seconds.items():
        parts = [f"{name:<18}{1000 * time:>9.1f} ms  {time / seconds['plain']:>6.3f} of plain"]
        if name in KERNELS:
            parts.append(f"{count_parameters('wrn', config(name, options.depth, options.width)):>10,} parameters")
            parts.append(f"{memory(name, options) / 2**20:>7.1f} MiB" if is_measurable() else "memory not measurable")
        print("  ".join(parts))


if __name__ == "__main__":
    main()
