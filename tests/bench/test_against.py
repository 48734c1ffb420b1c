"""`hypernetworks bench --against`: two source trees in one run."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from hypernetworks import cli
from hypernetworks.bench import against
from hypernetworks.errors import FaultError

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a source tree whose package is this one with some more lines at its end."""

    def make(lines: str = "") -> Path:
        package = tmp_path / "tree" / "src" / "hypernetworks"
        package.mkdir(parents=True)
        for part in against.this_tree().joinpath("hypernetworks").iterdir():
            if part.name not in ("__init__.py", "__pycache__"):
                package.joinpath(part.name).symlink_to(part)
        init = against.this_tree().joinpath("hypernetworks", "__init__.py").read_text()
        package.joinpath("__init__.py").write_text(f"{init}\n{lines}\n")
        return tmp_path / "tree"

    return make


def run(capsys: Capture, *given: str, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert cli.main(["bench", "--repeats", "2", "--threads", "1", "--sizes", "small", *given]) == code
    return capsys.readouterr()


def test_two_trees_are_compared_and_timed_in_turn(tree: Callable[..., Path], tmp_path: Path, capsys: Capture) -> None:
    file, other = tmp_path / "bench.json", tree()
    given = ["--networks", "rhn", "hyper-gru", "--quantities", "training", "generation", "memory"]
    out, _ = run(capsys, *given, "--against", str(other), "--json", str(file))
    about = json.loads(file.read_text())
    assert f"--against {other}" in about["command"]
    measured = {(m["quantity"], m["network"], m["implementation"]): m for m in about["measurements"]}
    assert measured.keys() == {
        (quantity, network, name)
        for quantity in ("training", "generation")
        for network in ("rhn", "hyper-gru")
        for name in (against.THIS, against.OTHER)
    }
    for (quantity, network, name), measurement in measured.items():
        assert len(measurement["values"]) == 2
        assert min(measurement["values"]) == measurement["minimum"] > 0
        assert measurement["difference"] <= 1e-5
        if name == against.THIS:
            ratio = measurement["minimum"] / measured[quantity, network, against.OTHER]["minimum"]
            assert re.search(rf"^{network} .* {ratio:.3f} ", out, re.MULTILINE)


def test_what_a_tree_lacks_or_computes_otherwise_is_said(tree: Callable[..., Path], capsys: Capture) -> None:
    lines = """
del RHN
class GRU(GRU):
    def __init__(self, input_size, hidden_size): super().__init__(input_size, hidden_size, bias=False)
class RNN(RNN):
    def forward(self, *given):
        output, state = super().forward(*given)
        return output * 1.01, state
class LSTM(LSTM):
    def __init__(self, input_size, hidden_units): super().__init__(input_size, hidden_units)
"""
    given = ["--networks", "rhn", "gru", "rnn", "lstm", "hyper-rnn", "--quantities", "forward"]
    out, error = run(capsys, *given, "--against", str(tree(lines)), code=1)
    assert "4 of 10 were not measured" in error
    refused = dict(re.findall(r"^(\S+) +other tree not measured: (.*)$", out, re.MULTILINE))
    assert refused.keys() == {"rhn", "gru", "rnn", "lstm"}
    assert refused["rhn"] == "failed: the tree has no RHN"
    assert refused["gru"] == "failed: the tree's network has other parameters"
    assert refused["rnn"].startswith("output differs from float64 by ")
    assert refused["lstm"].startswith("failed: the tree cannot make it: ")
    assert "unexpected keyword argument 'hidden_size'" in refused["lstm"]
    assert re.search(r"^hyper-rnn +[\d.]+ +[\d.]+ +[\d.]+ ", out, re.MULTILINE)


def test_a_path_without_the_package(tmp_path: Path, capsys: Capture) -> None:
    _, error = run(capsys, "--against", str(tmp_path), code=2)
    assert error.count("\n") == 1
    assert f"--against should be a source tree with src/hypernetworks in it, got {tmp_path}" in error


@pytest.mark.parametrize("flag", ["--curves", "--busy", "--compiled"])
def test_flags_that_do_not_go_with_it(flag: str, tree: Callable[..., Path], capsys: Capture) -> None:
    _, error = run(capsys, "--against", str(tree()), flag, code=2)
    assert f"leave {flag} out" in error


def test_memory_alone_is_refused(tree: Callable[..., Path], capsys: Capture) -> None:
    _, error = run(capsys, "--against", str(tree()), "--quantities", "memory", code=2)
    assert "--against compares forward, training, generation, got memory" in error


def test_a_process_that_ends_is_an_error(tree: Callable[..., Path]) -> None:
    with pytest.raises(FaultError, match="ended with code 3"):
        against.Tree(against.OTHER, tree("raise SystemExit(3)") / "src", 1)
    with against.Tree(against.THIS, against.this_tree(), 1) as running:
        running._process.kill()
        running._process.wait()
        with pytest.raises(FaultError, match="ended with code -9"):
            running.seconds("forward", 1)


def test_a_package_from_elsewhere_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FaultError, match="imported"):
        against.Tree(against.OTHER, tmp_path, 1)
