"""Time a training step of hn.HyperLSTM beside labml_nn's HyperLSTM: python benchmarks/hyper_lstm.py

A training step is forward and backward of Σ output ⊙ cotangent, with gradients of the input and of all parameters. Both
networks run in turn, in one process, with the same weights; the time is the minimum over the repeats. Before a size is timed
the two are compared, outputs and every gradient; where they differ nothing is printed but that, and the exit code is 1.
"""

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

import hypernetworks as hn

TOLERANCE = 1e-4
"""max|a − b| ≤ TOLERANCE · max(1, max|b|) for each tensor, in float32."""


class Size(NamedTuple):
    """T, B, I, H, K, Z, and how many times faster than labml_nn hn.HyperLSTM has to be."""

    time: int
    batch: int
    input: int
    hidden: int
    hyper: int
    embedding: int
    required: float


SIZES = {
    "labml": Size(512, 2, 512, 512, 16, 16, required=2.0),
    "small": Size(128, 32, 256, 256, 64, 16, required=1.3),
    "ptb": Size(100, 128, 128, 1000, 128, 16, required=0.75),
}


def labml_network(size: Size) -> nn.Module:
    """labml_nn's network with its zero matrices filled, else nothing that depends on them would be compared."""
    try:
        from labml_nn.hypernetworks.hyper_lstm import HyperLSTM
    except ImportError:
        sys.exit("labml_nn is not installed: pip install --no-deps labml-nn==0.5.1")
    network = HyperLSTM(size.input, size.hidden, size.hyper, size.embedding, 1)
    for name, parameter in network.named_parameters():
        if ".w_h." in name or ".w_x." in name:
            nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
    return network


def training_step(network: nn.Module, x: Tensor, cotangent: Tensor) -> Tensor:
    """One step; the gradients are left in x and in the parameters."""
    x.grad = None
    network.zero_grad()
    output, _ = network(x)
    (output * cotangent).sum().backward()
    return output.detach()


def difference(ours: nn.Module, theirs: nn.Module, x: Tensor, cotangent: Tensor) -> tuple[float, str]:
    """The largest max|a − b| / max(1, max|b|) over outputs and gradients, and the tensor it was found in."""
    b = {"output": training_step(theirs, x, cotangent), "gradient of the input": x.grad}
    # their gradients go through the same conversion as their weights
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    b |= dict(hn.interop.hyper_lstm_from_labml(gradients).named_parameters())
    a = {"output": training_step(ours, x, cotangent), "gradient of the input": x.grad}
    a |= {name: parameter.grad for name, parameter in ours.named_parameters()}
    worst = (0.0, "")
    for name in b:
        error = ((a[name] - b[name]).abs().max() / b[name].abs().max().clamp(min=1)).item()
        # a NaN is larger than everything here
        if not error <= worst[0]:
            worst = (error, name)
    return worst


def measure(name: str, repeats: int) -> dict[str, float | str]:
    """Compare, then time, the two networks at one size: milliseconds of each and their ratio."""
    size = SIZES[name]
    torch.manual_seed(0)
    theirs = labml_network(size)
    ours = hn.interop.hyper_lstm_from_labml(theirs.state_dict())
    x = torch.randn(size.time, size.batch, size.input, requires_grad=True)
    cotangent = torch.randn(size.time, size.batch, size.hidden)
    error, where = difference(ours, theirs, x, cotangent)
    if not error <= TOLERANCE:
        sys.exit(f"{name}: {where} differs from labml_nn's by {error:.1e}, allowed is {TOLERANCE:.0e}; nothing timed")
    seconds: dict[nn.Module, float] = {ours: float("inf"), theirs: float("inf")}
    for _ in range(repeats):
        for network in seconds:
            start = time.perf_counter()
            training_step(network, x, cotangent)
            seconds[network] = min(seconds[network], time.perf_counter() - start)
    return {
        "size": name,
        **size._asdict(),
        "labml_ms": 1000 * seconds[theirs],
        "hypernetworks_ms": 1000 * seconds[ours],
        "ratio": seconds[theirs] / seconds[ours],
        "difference": error,
    }


def cpu_model() -> str:
    """The processor's name, as far as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a training step of hn.HyperLSTM beside labml_nn 0.5.1's.")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), help="which sizes (default: all)")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="the minimum of N is taken (default: 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    args = parser.parse_args()
    if args.repeats < 1:
        parser.error(f"--repeats should be at least 1, got {args.repeats}")
    machine = {"cpu": cpu_model(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    rows = [measure(name, args.repeats) for name in args.sizes]
    print(f"{machine['cpu']}, {machine['threads']} threads, torch {machine['torch']}, float32, ms per training step")
    print(f"{'size':6} {'T, B, I, H, K, Z':28} {'labml_nn':>9} {'hn.HyperLSTM':>13} {'ratio':>6} {'required':>9}")
    for row in rows:
        sizes = ", ".join(str(n) for n in SIZES[str(row["size"])][:-1])
        print(
            f"{row['size']:6} {sizes:28} {row['labml_ms']:9.0f} {row['hypernetworks_ms']:13.0f} "
            f"{row['ratio']:6.2f} {row['required']:9.2f}"
        )
    if args.json:
        args.json.write_text(json.dumps({**machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
