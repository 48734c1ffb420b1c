"""Every kernel in Triton's interpreter, on the CPU, against the reference path in float64: see interpreted.py."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def interpret(group: str) -> dict[str, dict[str, Any]]:
    """What the checks of a group found, by name."""
    script = Path(__file__).parent / "interpreted.py"
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, script, group], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return {outcome.pop("name"): outcome for outcome in map(json.loads, done.stdout.splitlines())}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("group", "cases"), [("lstm", 6), ("gru", 7), ("hyper", 5)])
def test_kernels_give_the_numbers_of_the_reference_path(group: str, cases: int) -> None:
    outcomes = interpret(group)
    assert len(outcomes) == cases
    for loop in ("steps", "scan"):
        assert {name: o[loop] for name, o in outcomes.items() if not o[loop] <= 1e-5} == {}
        assert all(outcome[f"{loop}, same without gradients"] for outcome in outcomes.values())


@pytest.mark.timeout(900)
@pytest.mark.parametrize("group", ["graphs", "operators", "networks"])
def test_captured_loops_operators_and_networks(group: str) -> None:
    checks = interpret(group)[group]
    assert {what: passed for what, passed in checks.items() if what != "seconds" and passed is not True} == {}
