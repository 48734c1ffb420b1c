"""Runs survive kills, power cuts, full disks and signals: a short form, or the long one of `make faults`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..vision.conftest import toy_folder as toy_folder  # a fixture

HARNESS = Path(__file__).with_name("harness.py")
IS_LONG = "HYPERNETWORKS_LONG" in os.environ


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/fd")
@pytest.mark.timeout(1800 if IS_LONG else 300)
def test_a_run_ends_the_same_whatever_happens_to_it(toy_folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(HARNESS), str(tmp_path), str(toy_folder), "long" if IS_LONG else "short"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HYPERNETWORKS_BACKEND": "reference"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
