"""Any bytes and any words: whatever reads files and the command line succeeds, or reports an error of one line.

A few hundred examples; with HYPERNETWORKS_LONG ten thousand (`make fuzz`).
"""

import io
import os
import shutil
import zipfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hypernetworks import cli
from hypernetworks.data.data_file import DataFile, obtain
from hypernetworks.errors import FaultError, UsageError
from hypernetworks.runs.checkpoint import load_model, load_trainer
from hypernetworks.runs.metrics import read_metrics
from hypernetworks.runs.run import Run
from hypernetworks.text.alphabet import text_of_bytes
from hypernetworks.text.experiment import TEXT as EXPERIMENT
from hypernetworks.text.plays import read_plays
from hypernetworks.vision.formats import read_cifar, read_idx_images, read_idx_labels

from .small_run import TEXT, sealed
from .small_run import trained as trained  # a fixture

IS_LONG = "HYPERNETWORKS_LONG" in os.environ
SHARE = 40 if IS_LONG else 1
pytestmark = pytest.mark.timeout(3600 if IS_LONG else 300)
patient = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
FILES = ("config.json", "metrics.jsonl", "trainer.pt", "model.safetensors")
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernels are built, nothing is found or fetched, and runs without a name land nowhere else."""
    monkeypatch.setenv("HYPERNETWORKS_BACKEND", "reference")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HYPERNETWORKS_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        import_module("hypernetworks.experiments.experiment"), "draw_run", lambda run: None
    )  # it would cost the most


def one_clear_line(read: Callable[[], object]) -> None:
    """It answers, or raises one of our errors, of one line."""
    printed = "answered"
    try:
        read()
    except (UsageError, FaultError) as error:
        printed = str(error)
    assert printed
    assert "\n" not in printed


@st.composite
def changed(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes like `data`: some changed, cut out, doubled or put in; or any others."""
    made = bytearray(data)
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(made)))
        match draw(st.sampled_from(["change", "cut", "double", "insert"])):
            case "change" if place < len(made):
                made[place] = draw(st.integers(0, 255))
            case "cut":
                del made[place : place + draw(st.integers(1, 4000))]
            case "double":
                made[place:place] = made[place : place + draw(st.integers(1, 400))]
            case "insert":
                made[place:place] = draw(st.binary(max_size=20))
    return bytes(made) if draw(st.integers(0, 9)) else draw(st.binary(max_size=300))


def as_file(folder: Path, data: bytes, name: str = "file") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def packed(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("text", content)
    return buffer.getvalue()


def idx(magic: int, *sizes: int) -> bytes:
    return b"".join(size.to_bytes(4, "big") for size in (magic, *sizes)) + bytes(sizes[0] * (784 if sizes[1:] else 1))


LOADERS: dict[str, tuple[bytes, Callable[[Path, bytes], object]]] = {
    "a text": (TEXT.encode(), lambda folder, data: text_of_bytes(data, folder)),
    "metrics": (b'{"step": 1, "loss": 0.5}\n' * 3, lambda folder, data: read_metrics(as_file(folder, data))),
    "images": (idx(2051, 2, 28, 28), lambda folder, data: read_idx_images(data, folder)),
    "labels": (idx(2049, 9), lambda folder, data: read_idx_labels(data, folder)),
    "photographs": (bytes(3073 * 2), lambda folder, data: read_cifar(data, folder)),
    "a zip": (packed(TEXT.encode()), lambda folder, data: fetched(as_file(folder, data, "text.zip"))),
    "a wheel of plays": (packed(TEXT.encode()), lambda _, data: read_plays(data)),
}


def fetched(path: Path) -> object:
    return obtain(DataFile((path.name,), limit=10_000), path.parent)


@pytest.mark.parametrize("name", LOADERS)
@settings(patient, max_examples=20 * SHARE)
@given(draw=st.data())
def test_a_loader_of_data_reads_or_refuses_any_bytes(name: str, draw: st.DataObject, tmp_path: Path) -> None:
    data, load = LOADERS[name]
    one_clear_line(lambda: load(tmp_path, draw.draw(changed(data))))


@pytest.mark.parametrize("name", FILES)
@settings(patient, max_examples=15 * SHARE)
@given(draw=st.data())
def test_a_loader_of_runs_reads_or_refuses_any_bytes(
    name: str, draw: st.DataObject, trained: Path, tmp_path: Path
) -> None:
    """The trainer's state with the sum that belongs to the changed bytes, so that they are read."""
    data = (trained / name).read_bytes()
    if name == "trainer.pt":
        path = as_file(tmp_path, sealed(draw.draw(changed(data[:-95]))))
        one_clear_line(lambda: load_trainer(path, ["step"]))
        return
    path = as_file(tmp_path, draw.draw(changed(data)), name)
    one_clear_line(lambda: load_model(path))
    one_clear_line(lambda: read_metrics(path))
    if name == "config.json":
        one_clear_line(lambda: EXPERIMENT.read_config(Run.open(tmp_path).config, "run"))


@settings(patient, max_examples=25 * SHARE)
@given(name=st.sampled_from(FILES), draw=st.data())
def test_commands_meet_any_damage_of_a_run(name: str, draw: st.DataObject, trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "damaged"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(trained, run)
    (run / name).write_bytes(draw.draw(changed((run / name).read_bytes())))
    command = draw.draw(
        st.sampled_from([["generate", str(run), "--length=2"], ["train", "--resume", "--out", str(run)]])
    )
    answered(["text", *command])


NUMBERS = st.one_of(
    st.integers(-3, 40).map(str),
    st.sampled_from(["nan", "inf", "-inf", "1e999", "1e-400", "0.5", "-0.0", str(2**63), str(-(2**64)), "9" * 400, ""]),
)
WORDS = st.one_of(NUMBERS, st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8))
FLAGS = dict.fromkeys(("--temperature", "--top-k", "--top-p", "--seed", "--samples"), NUMBERS) | {"--prompt": WORDS}


@settings(patient, max_examples=30 * SHARE)
@given(draw=st.data())
def test_generate_answers_any_flags(draw: st.DataObject, trained: Path) -> None:
    chosen = draw.draw(st.sets(st.sampled_from(sorted(FLAGS))))
    words = [f"{flag}={draw.draw(FLAGS[flag])}" for flag in sorted(chosen)]
    answered(["text", "generate", str(trained), "--length=2", *words])


KNOWN = [word for command in cli.COMMANDS for word in command.split()]


@settings(patient, max_examples=15 * SHARE)
@given(
    words=st.lists(
        st.one_of(st.sampled_from([*KNOWN, "--help", "--out", "--resume", "--preset=", "."]), WORDS), max_size=5
    )
)
def test_the_command_line_answers_any_words(words: list[str]) -> None:
    if words[:1] in (["bench"], ["doctor"]) or words[:2] == ["data", "get"]:
        return  # these measure, build and fetch
    if words[:2] in (["text", "train"], ["text", "compare"], ["vision", "train"], ["vision", "compare"]):
        words = [*words, "--batch-size=0"]  # no training is to begin
    answered(words)


def answered(words: list[str]) -> None:
    """The command ends with an exit code of ours, a failure with one line."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = cli.main(words)
    assert code in (0, 1, 2)
    if code:
        assert err.getvalue().splitlines()[-1].startswith("hypernetworks: ")
