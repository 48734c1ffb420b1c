"""The script that prints what making the kernels costs runs, and its three lines are there."""

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "tiled_wrn.py"


def test_the_script_prints_both_networks_and_the_making() -> None:
    command = [sys.executable, str(SCRIPT), "--depth=10", "--batch=2", "--repeats=1", "--threads=1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [re.split(r" {2,}", line)[0].strip() for line in lines[1:]] == ["plain", "generated", "generation alone"]
    assert all(re.search(r" [0-9.]+ ms .* of plain", line) for line in lines[1:])
