"""The notebook of the examples runs in Jupyter's kernel, shows its pictures, and a training in it can be interrupted."""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

NOTEBOOK = Path(__file__).parents[1] / "examples" / "hyper_lstm.ipynb"

INTERRUPTED = """
import os, signal
from dataclasses import replace

def interrupt(row):
    if row["step"] == 4:
        os.kill(os.getpid(), signal.SIGINT)  # as the kernel's button does

longer = replace(config, schedule=replace(config.schedule, steps=1000, evaluate_every=1000, log_every=2))
TEXT.train(folder / "stopped", longer, corpus, "stopped", interrupt)
"""
RESUMED = """
print(torch.load(folder / "stopped" / "trainer.pt", weights_only=True)["step"])

def stop(row):
    raise StopIteration

try:
    TEXT.resume(folder / "stopped", corpus, "resumed", stop)
except StopIteration:
    print("went on")
"""


def test_the_notebook_is_kept_without_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(code) >= 5
    assert [(cell["outputs"], cell["execution_count"]) for cell in code] == [([], None)] * len(code)
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert any("STEPS = 300" in "".join(cell["source"]) for cell in code)  # which the test replaces


def printed(cell: Any, stream: str) -> str:
    return "".join(output.text for output in cell.outputs if output.get("name") == stream)


def shown(cell: Any, kind: str) -> str:
    (output,) = [output for output in cell.outputs if output.output_type == "execute_result"]
    return output.data[kind]


def test_it_runs_in_the_kernel_and_can_be_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer steps; then a training that is interrupted, and one that continues it. One test: a kernel starts slowly."""
    for package in ("ipykernel", "matplotlib"):
        pytest.importorskip(package)
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace("STEPS = 300", "STEPS = 20")
    stopped = nbformat.v4.new_code_cell(INTERRUPTED, metadata={"tags": ["raises-exception"]})
    resumed = nbformat.v4.new_code_cell(RESUMED)
    notebook.cells += [stopped, resumed]
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # with it, a kernel does not show what is written to file descriptors
    nbclient.NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
    training, run, pictured = (
        next(cell for cell in notebook.cells if cell.cell_type == "code" and part in cell.source)
        for part in ("run = TEXT.train", "run  # shown", "plot_weight_change(trace")
    )

    progress = printed(training, "stderr")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\x9b]", progress)
    assert re.match(r"HyperLSTM  1/20  loss ", progress)
    losses = [float(loss) for loss in re.findall(r"^HyperLSTM  \d+/20  loss (\S+)", progress, re.MULTILINE)]
    assert losses[-1] < losses[0] - 0.5

    assert ElementTree.fromstring(shown(run, "image/svg+xml")).tag.endswith("svg")
    assert len(shown(pictured, "image/png")) > 1000

    assert [output.ename for output in stopped.outputs if output.output_type == "error"] == ["KeyboardInterrupt"]
    assert "stopping after this step and saving" in printed(stopped, "stderr")
    assert printed(resumed, "stdout") == "4\nwent on\n"
