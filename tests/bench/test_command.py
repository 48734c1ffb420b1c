"""`hypernetworks bench` from end to end, at tiny sizes."""

import json
import re
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from hypernetworks import cli
from hypernetworks.bench import benchmark, command
from hypernetworks.recurrent.native.kernels import library

Capture = pytest.CaptureFixture[str]
OTHERS = {"labml_nn", "jax"}


def run(capsys: Capture, *given: str, code: int = 0) -> tuple[str, str]:
    """The output and the error message of the command."""
    capsys.readouterr()
    assert cli.main(["bench", "--sizes", "small", "--repeats", "2", *given]) == code
    return capsys.readouterr()


def test_all_is_compared_timed_printed_and_written(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "bench.json"
    given = ["--networks", "lstm", "hyper-lstm", "--quantities", "generation", "training", "forward"]
    out, _ = run(capsys, *given, "--threads", "1", "--json", str(file))
    about = json.loads(file.read_text())
    assert about["command"] == (
        "hypernetworks bench --sizes small --networks lstm hyper-lstm --quantities generation training forward "
        f"--repeats 2 --threads 1 --json {file}"
    )
    assert (about["threads"], about["repeats"], about["dtype"]) == (1, 2, "float32")
    assert about["versions"]["torch"] == str(torch.__version__)
    assert about["processor"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", about["date"])
    for name in OTHERS:
        assert (about["versions"][name] is not None) == (find_spec(name) is not None)

    measurements = about["measurements"]
    paths = {"reference"} | ({"native"} if library() is not None else set())
    there = {name for name in OTHERS if find_spec(name) is not None}
    cells = {f"{name} cell" for name in paths | there - {"jax"}}
    steps = {f"step {name}" for name in ("float32", "bfloat16", "int8")} if "native" in paths else set()
    for quantity, network, expected in (
        ("training", "lstm", paths | {"nn.LSTM"}),
        ("forward", "hyper-lstm", paths | there | {"nn.LSTM", "products"}),
        ("generation", "hyper-lstm", paths | there | cells | steps | {"nn.LSTM", "nn.LSTMCell"}),
    ):
        group = {f["implementation"]: f for f in measurements if (f["quantity"], f["network"]) == (quantity, network)}
        assert group.keys() == expected
        for name, measurement in group.items():
            assert len(measurement["values"]) == 2
            assert (
                0
                < measurement["minimum"]
                == min(measurement["values"])
                <= measurement["median"]
                <= max(measurement["values"])
            )
            assert measurement["refusal"] is None
            checked = name.split()[0] in paths | there or name == "step float32"  # the other steps round the weights
            assert (measurement["difference"] is not None) == checked
            assert (measurement["flops"] is not None) == (name == "products")
        ratio = group["reference"]["minimum"] / group["nn.LSTM"]["minimum"]
        assert re.search(rf"^{network} +reference +{ratio:.2f} ", out, re.MULTILINE)
    of_generation = out.partition("generation: ")[2].partition("\n\n")[0].splitlines()[2:]  # below two headings
    assert len(of_generation) == sum(f["quantity"] == "generation" for f in measurements)
    assert out.index("forward, no") < out.index("training step") < out.index("generation")


@pytest.mark.usefixtures("alone")
def test_what_is_not_installed_is_said_and_left_out(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "library", lambda: None)
    out, _ = run(capsys, "--networks", "hyper-lstm", "--quantities", "forward", "generation")
    assert "without labml_nn, which is not installed: pip install --no-deps labml-nn==0.5.1" in out
    assert "without jax, which is not installed: pip install 'hypernetworks[jax]'" in out
    assert "without the native path" in out
    rows = re.findall(r"^hyper-lstm +(\S+(?: cell)?) ", out, re.MULTILINE)
    assert rows == ["reference", "products", "nn.LSTM", "reference", "nn.LSTM", "reference cell", "nn.LSTMCell"]


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("network", "counterpart"), [("gru", "nn.GRU"), ("layer-norm-gru", "nn.GRU"), ("rnn", "nn.RNN")]
)
def test_gru_and_rnn_are_also_compared_with_torchs(
    network: str, counterpart: str, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "bench.json"
    given = ["--networks", network, "--quantities", "training", "generation", "--json", str(file)]
    out, _ = run(capsys, *given, "--plot", str(tmp_path / "bench.svg"))
    measured = {(m["quantity"], m["implementation"]): m for m in json.loads(file.read_text())["measurements"]}
    networks, cells = {"reference", counterpart, "nn.LSTM"}, {"reference cell", f"{counterpart}Cell", "nn.LSTMCell"}
    assert {name for quantity, name in measured if quantity == "training"} == networks
    assert {name for quantity, name in measured if quantity == "generation"} == networks | cells
    for quantity, ours, theirs in (
        ("training", "reference", (counterpart, "nn.LSTM")),
        ("generation", "reference cell", (f"{counterpart}Cell", "nn.LSTMCell")),
    ):
        own, lstm = (measured[quantity, ours]["minimum"] / measured[quantity, name]["minimum"] for name in theirs)
        assert re.search(rf"^{network} +{ours} +{lstm:.2f} +{own:.2f} ", out, re.MULTILINE)
    assert f"{network} · {counterpart}Cell" in (tmp_path / "bench.svg").read_text()


def test_installed_is_what_can_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in (("labml_nn", command.labml), ("jax", command.jax_scan)):
        monkeypatch.setitem(sys.modules, name, None)
        assert not module.is_installed()


def output_off(output, state):
    return output * 1.001, state


def state_off(output, state):
    return output, type(state)(state[0], state[1] + 1e-3)


def not_a_number(output, state):
    return output * float("nan"), state


def crash(output, state):
    raise RuntimeError("the kernel stumbled\nover itself")


def same(output, state):
    return output, state


def gradient_off(gradients):
    return {name: value * (1.001 if name.endswith("bias") else 1) for name, value in gradients.items()}


def gradient_lost(gradients):
    return {name: value for name, value in gradients.items() if not name.endswith("bias")}


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("spoilt", "gradients", "said"),
    [
        (output_off, dict, "output differs from float64 by .*, the limit is 1.0e-05"),
        (state_off, dict, "final state 1 differs from float64 by 1.0e-03"),
        (not_a_number, dict, "output differs from float64 by nan"),
        (crash, dict, "failed: the kernel stumbled$"),
        (same, gradient_off, "gradient of cells.0.bias differs from float64 by"),
        (same, gradient_lost, "gradient of cells.0.bias is missing"),
    ],
)
def test_a_path_with_wrong_numbers_has_no_figure(
    spoilt: Any, gradients: Any, said: str, spoil: Callable[..., None], tmp_path: Path, capsys: Capture
) -> None:
    spoil(spoilt, gradients)
    file = tmp_path / "bench.json"
    given = ["--networks", "lstm", "--quantities", "training", "--compiled", "--json", str(file)]
    out, error = run(capsys, *given, code=1)
    (row,) = re.findall(r"^lstm +compiled .*", out, re.MULTILINE)
    assert re.search(f"not measured: {said}", row), row
    assert error == "hypernetworks: 1 of 3 were not measured; the reasons are given above\n"
    measurements = {
        measurement["implementation"]: measurement for measurement in json.loads(file.read_text())["measurements"]
    }
    assert (measurements["compiled"]["values"], measurements["compiled"]["minimum"]) == ([], None)
    assert re.search(said, measurements["compiled"]["refusal"])
    assert len(measurements["reference"]["values"]) == len(measurements["nn.LSTM"]["values"]) == 2


@pytest.mark.usefixtures("alone")
def test_a_path_with_right_numbers_has_its_figure(spoil: Callable[..., None], capsys: Capture) -> None:
    """The replacement itself is not what is refused above."""
    spoil(same)
    out, _ = run(capsys, "--networks", "lstm", "--quantities", "training", "--compiled")
    assert re.search(r"^lstm +compiled +\d", out, re.MULTILINE)


@pytest.mark.usefixtures("alone")
def test_a_failing_memory_process_is_a_line_and_exit_code_1(
    spoil: Callable[..., None], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path that failed its check is not measured at all."""
    measured = []

    def peak(network: str, implementation: str, size: object) -> int:
        measured.append(implementation)
        if implementation == "reference":
            raise RuntimeError("killed")
        return 3 << 20

    spoil(output_off)
    monkeypatch.setattr(benchmark, "peak_memory", peak)
    monkeypatch.setattr(command, "is_measurable", lambda: True)
    out, _ = run(capsys, "--networks", "lstm", "--quantities", "memory", "--compiled", code=1)
    assert measured == ["reference", "nn.LSTM"]
    assert re.search(r"^lstm +reference +not measured: killed$", out, re.MULTILINE)
    assert re.search(r"^lstm +nn.LSTM +1.00 +3.0$", out, re.MULTILINE)


@pytest.mark.usefixtures("alone")
def test_without_proc_there_is_no_memory(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "is_measurable", lambda: False)
    out, _ = run(capsys, "--networks", "lstm", "--quantities", "memory")
    assert "memory is not measured: this system does not report the peak memory" in out
    assert "nn.LSTM " not in out


@pytest.mark.usefixtures("alone")
def test_busy_times_ours_and_nn_lstm_again(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "bench.json"
    given = ["--networks", "hyper-lstm", "--quantities", "forward", "--busy", "--json", str(file)]
    out, _ = run(capsys, *given)
    counts = {f["implementation"]: len(f["busy"]) for f in json.loads(file.read_text())["measurements"]}
    assert counts == {"reference": 2, "products": 0, "nn.LSTM": 2}
    assert "busy/idle" in out


@pytest.mark.usefixtures("alone")
def test_curves_and_plot(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(benchmark, "peak_memory", lambda network, implementation, size: size.T << 20)
    monkeypatch.setattr(command, "is_measurable", lambda: True)
    given = ["--networks", "lstm", "--quantities", "forward", "--curves"]
    out, _ = run(capsys, *given, "--plot", str(tmp_path / "bench.svg"), "--json", str(tmp_path / "bench.json"))
    titles = re.findall(r"^(?:training step|peak memory).* · (. = \d) ", out, re.MULTILINE)
    assert titles == ["T = 2", "T = 2", "T = 4", "T = 4", "B = 1", "B = 2", "H = 3", "H = 5"]
    picture = (tmp_path / "bench.svg").read_text()
    # a panel of bars, and lines over T (time and memory), B and H
    assert len(re.findall(r'<g id="axes_\d+">', picture)) == 5
    assert len(json.loads((tmp_path / "bench.json").read_text())["measurements"]) == 2 * (1 + len(titles))


NONSENSE = {
    "--sizes tiny": "tiny",
    "--sizes": "sizes should be one or more, all different, got none|--sizes",
    "--networks lstm lstm": "networks should be one or more, all different, got lstm lstm",
    "--networks transformer": "transformer",
    "--quantities speed": "speed",
    "--repeats 0": "repeats should be at least 1, got 0",
    "--repeats many": "many",
    "--threads 0": "threads should be at least 1, got 0",
    "--json {0}": "--json should be a file in an existing folder, got ",
    "--json {0}/none/bench.json": "--json should be a file in an existing folder, got ",
    "--plot {0}/none/bench.svg": "--plot should be a file in an existing folder, got ",
    "--plot {0}/bench.png": r"--plot should end in \.svg, got ",
}


@pytest.mark.parametrize("words", NONSENSE)
def test_nonsense_is_refused_before_anything_is_measured(words: str, tmp_path: Path, capsys: Capture) -> None:
    assert cli.main(["bench", *words.format(tmp_path).split()]) == 2
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert re.search(NONSENSE[words], error), error


def test_a_plot_needs_matplotlib(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out, error = run(capsys, "--plot", str(tmp_path / "bench.svg"), code=2)
    assert (out, error) == ("", "hypernetworks: --plot requires matplotlib: pip install 'hypernetworks[plot]'\n")


@pytest.mark.usefixtures("alone")
def test_the_number_of_threads_is_what_it_was(capsys: Capture) -> None:
    before = torch.get_num_threads()
    out, _ = run(capsys, "--networks", "lstm", "--quantities", "forward", "--threads", "2")
    assert ", 2 threads, " in out
    assert torch.get_num_threads() == before
