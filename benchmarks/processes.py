"""Two processes compared with one, each with one thread: the same training with the same global batch.

python benchmarks/processes.py        prints characters per second of both (the best metrics line of several runs in turn),
                                      their ratio, and the load of the machine
"""

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from hypernetworks.runs.run import Run

ROUNDS, STEPS = 3, 12
FLAGS = [
    "--steps",
    str(STEPS),
    "--warmup",
    "1",
    "--log-every",
    "2",
    "--validation-characters",
    "100",
    "--device",
    "cpu",
]


def characters_per_second(processes: int, corpus: Path, out: Path) -> int:
    """The best of all metrics lines except the first, which includes memory allocation and building kernels."""
    program = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    training = ["-m", "hypernetworks", "text", "train", "--corpus", str(corpus), *FLAGS, "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*program, *training], env=environment, check=True, capture_output=True)
    return max(
        row["characters_per_second"]
        for row in Run.open(out).metrics()
        if "characters_per_second" in row and row["step"] > 2
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place, found = Path(folder), {1: 0, 2: 0}
        corpus = place / "squares.txt"
        corpus.write_text("".join(f"{n} squared is {n * n}.\n" for n in range(4000)))
        load = os.getloadavg()[0]
        for number in range(ROUNDS):
            for processes in found:
                out = place / f"{processes}-{number}"
                found[processes] = max(found[processes], characters_per_second(processes, corpus, out))
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {load:.1f}; torch {torch.__version__}"
    )
    print(f"HyperLSTM, the default preset (batch 32, length 128), 1 thread a process, best of {ROUNDS}")
    print(f"characters a second: 1 process {found[1]:,}, 2 processes {found[2]:,}, ratio {found[2] / found[1]:.2f}")


if __name__ == "__main__":
    main()
