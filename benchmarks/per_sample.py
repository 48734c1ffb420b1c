"""Weights per sample compared with a loop over the samples: a training step of the paper's MNIST network.

Its second kernel is generated, one per sample.

python benchmarks/per_sample.py        prints the minimum milliseconds of both, run in turn, and their ratio
"""

import platform
import time

import torch
import torch.nn.functional as F
from torch import nn

import hypernetworks as hn

BATCH, CONDITION, ROUNDS = 64, 8, 10


def mnist_net() -> nn.Sequential:
    """Convolution 7×7×16, pool, convolution 7×7×16, pool, dense."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 7, padding=3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 16, 7, padding=3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(7 * 7 * 16, 10)),
    )


def seconds(step) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def main() -> None:
    net = hn.HyperNetwork(mnist_net(), hn.FullGenerator(CONDITION, init="hyperfan-in"), "3.weight")
    x, c, y = torch.randn(BATCH, 1, 28, 28), torch.randn(BATCH, CONDITION), torch.randint(10, (BATCH,))

    def together() -> torch.Tensor:
        return net(x, condition=c)

    def loop() -> torch.Tensor:
        return torch.cat([net(x[n : n + 1], condition=c[n]) for n in range(BATCH)])

    def train(forward) -> None:
        net.zero_grad()
        F.cross_entropy(forward(), y).backward()

    torch.testing.assert_close(together(), loop())
    best = {forward: min(seconds(lambda f=forward: train(f)) for _ in range(2)) for forward in (together, loop)}
    for _ in range(ROUNDS):
        for forward in best:
            best[forward] = min(best[forward], seconds(lambda f=forward: train(f)))
    where = (
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    print(f"training step, batch {BATCH}, weights per sample: {1000 * best[together]:.1f} ms; ", end="")
    print(
        f"a loop over the samples: {1000 * best[loop]:.1f} ms; {best[loop] / best[together]:.2f} times faster ({where})"
    )


if __name__ == "__main__":
    main()
