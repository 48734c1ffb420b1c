"""The bench command: parity before any measurement, its output, and refused settings."""

import json

import pytest
import torch

from hypernetworks.bench import sizes
from hypernetworks.bench.sizes import Size
from hypernetworks.cli import main
from hypernetworks.recurrent.native.kernels import library
from hypernetworks.recurrent.native.op import LayerOp


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Tiny sizes in place of `small` and that of generation."""
    monkeypatch.setitem(sizes.SIZES, "small", Size("small", 3, 2, 4, 5, 3, 2))
    monkeypatch.setattr(sizes, "ONE_STEP", Size("one step", 1, 1, 4, 5, 3, 2))


def bench(*arguments):
    return main(["bench", "--sizes", "small", "--repeats", "1", *arguments])


def test_figures_are_printed_and_written(tmp_path, capsys):
    path, picture = tmp_path / "bench.json", tmp_path / "bench.svg"
    given = ["--networks", "lstm", "hyper-gru", "--quantities", "forward", "training", "generation"]
    assert bench(*given, "--json", str(path), "--plot", str(picture)) == 0
    said = capsys.readouterr().out
    assert "nn.LSTM" in said
    about = json.loads(path.read_text())
    assert about["versions"]["torch"] == str(torch.__version__)
    assert {"command", "date", "processor", "threads", "measurements"} <= set(about)
    assert len(about["measurements"]) > 10
    assert picture.read_text().lstrip().startswith("<?xml")


def test_a_path_with_wrong_numbers_has_no_figure(monkeypatch, capsys):
    if library() is None:
        pytest.skip("there are no native kernels here")
    run = LayerOp.__call__

    def wrong(op, *arguments):
        output, *state = run(op, *arguments)
        return (output * 1.001, *state)

    monkeypatch.setattr(LayerOp, "__call__", wrong)
    assert bench("--networks", "layer-norm-lstm", "--quantities", "training") == 1
    said = capsys.readouterr()
    native = next(line for line in said.out.splitlines() if " native " in line)
    assert "differs" in native
    assert not any(word.replace(".", "").isdigit() and "." in word for word in native.split()[2:4])
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--repeats", "0"], "repeats"),
        (["--threads", "0"], "threads"),
        (["--networks", "transformer"], "transformer"),
        (["--sizes", "small", "small"], "all different"),
        (["--json", "/nowhere/at/all.json"], "--json"),
        (["--plot", "picture.png"], "should end in .svg"),
    ],
)
def test_what_cannot_be_measured_is_one_line(arguments, why, capsys):
    assert main(["bench", *arguments]) == 2
    said = capsys.readouterr()
    assert why in said.err
    assert said.err.count("\n") == 1
    assert not said.out
