"""benchmarks/accelerator.py from the first part to the last, at a tiny size in Triton's interpreter."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LONG = os.environ.get("HYPERNETWORKS_LONG") == "1"
NOT_HERE = {"memory", "profile", "compute-sanitizer", "the compiled step in a CUDA graph"}
"""What needs a device or a tool."""

pytestmark = [
    pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed"),
    pytest.mark.timeout(900),
]


def run(tmp_path: Path, *options: str) -> tuple[int, dict, str]:
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be, that is the question " * 20)
    command = [sys.executable, ROOT / "benchmarks" / "accelerator.py", "--interpret", "--out", tmp_path]
    command += ["--text", text, "--steps", "1", "--rounds", "1", *options]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": "src"}, cwd=ROOT
    )
    report = tmp_path / "accelerator.json"
    assert report.exists(), done.stderr[-3000:]
    return done.returncode, json.loads(report.read_text()), (tmp_path / "accelerator.txt").read_text()


@pytest.mark.skipif(not LONG, reason="takes a minute and a half: HYPERNETWORKS_LONG=1")
def test_every_part_runs_or_says_why_not(tmp_path: Path) -> None:
    code, data, text = run(tmp_path, "--seconds", "850")
    assert code == 0, text
    assert {row["network"] for row in data["parity"]} >= {
        "LSTM",
        "layer-norm LSTM",
        "GRU",
        "layer-norm GRU",
        "HyperLSTM",
    }
    assert all(row["passed"] and row["cases"] >= 3 for row in data["parity"])
    assert all(row["same"] for row in data["determinism"] + data["graphs"])
    timed = {row["name"] for row in data["timings"]}
    assert timed >= {"nn.LSTM", "HyperLSTM", "layer-norm LSTM", "layer-norm GRU", "HyperLSTM, reference path"}
    assert "HyperLSTM, single steps" in timed
    assert all(figure["min"] > 0 for row in data["timings"] for figure in row["us"].values())
    assert data["training"]["steps"] == 1
    assert data["training"]["nats"] > 0
    assert {line.split(":")[0] for line in data["skipped"]} == NOT_HERE


def test_parts_can_be_chosen_and_say_why_they_do_not_run(tmp_path: Path) -> None:
    code, data, text = run(tmp_path, "--seconds", "850", "--parts", "training,memory,sanitizer,compiled,profile")
    assert code == 0, text
    assert data["training"]["steps"] == 1
    assert data["training"]["nats"] > 0
    assert not {"parity", "timings"} & data.keys()
    skipped = {line.split(":")[0] for line in data["skipped"]}
    assert skipped == NOT_HERE | {"parity", "determinism", "timings"}


def test_no_figure_without_parity_and_no_part_after_the_time(tmp_path: Path) -> None:
    code, data, _ = run(tmp_path, "--seconds", "0", "--parts", "parity,timings")
    assert code == 0
    assert "timings" not in data
    assert "timings: no time left" in data["skipped"]
