"""The command line: what works works from end to end; what does not is one line, an exit code and no traceback."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from hypernetworks import cli
from hypernetworks.data_sets import NAMED_SETS as ALL_SETS
from hypernetworks.text.data_sets import NAMED_SETS
from hypernetworks.training.checkpoint import load_model, load_trainer
from hypernetworks.training.run import Run

TEXT = "".join(f"{n} is {n * n}, and its half {n / 2}: so it stands.\n" for n in range(60))
SIZES = ("--hidden-size=8", "--embedding-size=5", "--hyper-size=4", "--hyper-embedding-size=2", "--device=cpu")
SHORT = ("--steps=4", "--warmup=1", "--evaluate-every=2", "--log-every=1", "--batch-size=2", "--length=8")
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is found in this machine's cache, and no kernels are built for it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HYPERNETWORKS_DATA", raising=False)
    monkeypatch.setenv("HYPERNETWORKS_BACKEND", "reference")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with toy.txt and a finished run; not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "toy.txt").write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:  # a fixture of each test comes too late
        patch.setenv("HYPERNETWORKS_BACKEND", "reference")
        assert cli.main(["text", "train", *corpus(folder), *SIZES, *SHORT, "--out", str(folder / "run")]) == 0
    return folder


@pytest.fixture
def place(trained: Path, tmp_path: Path) -> Path:
    """A copy of it to do anything with."""
    shutil.copytree(trained, tmp_path / "place")
    return tmp_path / "place"


def corpus(folder: Path) -> list[str]:
    return ["--corpus", str(folder / "toy.txt")]


def test_train_evaluate_generate_and_resume_in_one_go(place: Path, capsys: Capture) -> None:
    run = place / "again"
    assert cli.main(["text", "train", *corpus(place), *SIZES, *SHORT, "--seed", "3", "--out", str(run)]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"{place / 'toy.txt'}: train {len(TEXT) * 90 // 100:,}, ")
    count = sum(tensor.numel() for tensor in Run.open(run).best_model()[0].values())
    assert f"{len(set(TEXT))} symbols; hyper-lstm of {count:,} parameters" in shown.out
    assert (run / "samples.txt").read_text() in shown.out
    assert "hyper-lstm  4/4  loss" in shown.err
    score = float(Run.open(run).best_model()[1]["score"])
    assert f"best validation at step 4: {score:.4f} nats, {score / math.log(2):.4f} bits" in shown.out

    assert cli.main(["text", "evaluate", str(run)]) == 0
    predicted = len(TEXT) * 95 // 100 - len(TEXT) * 90 // 100 - 1
    assert capsys.readouterr().out.splitlines() == [
        f"{run} on {place / 'toy.txt'}, validation: {predicted} characters predicted, one stream",
        f"{score:.4f} nats, {score / math.log(2):.4f} bits per character, perplexity {math.exp(score):.3f}",
    ]
    assert cli.main(["text", "evaluate", str(run), "--text", str(place / "toy.txt"), "--characters", "100"]) == 0
    assert "whole text: 99 characters predicted" in capsys.readouterr().out

    made = []
    for seed in ("1", "1", "2"):
        assert cli.main(["text", "generate", str(run), "--prompt", "7 is ", "--length", "40", "--seed", seed]) == 0
        made.append(capsys.readouterr().out)
    assert all(re.fullmatch(r"7 is (.|\n){40}\n", text) for text in made)
    assert made[0] == made[1] != made[2]

    before = (run / "metrics.jsonl").read_bytes()
    assert cli.main(["text", "train", "--resume", "--out", str(run)]) == 0
    assert (run / "metrics.jsonl").read_bytes() == before
    assert f"best validation at step 4: {score:.4f} nats" in capsys.readouterr().out
    own = json.loads((run / "config.json").read_text())["settings"]
    assert (own["schedule"]["seed"], own["model"]["hidden_size"], own["batch_size"]) == (3, 8, 2)


def test_a_config_does_its_run_again_to_the_same_bits(
    place: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, again = place / "run", place / "again"
    torch.manual_seed(7)  # another process begins otherwise
    assert cli.main(["text", "train", "--config", str(run / "config.json"), "--out", str(again)]) == 0
    assert "last bits" not in capsys.readouterr().err
    assert (again / "config.json").read_bytes() == (run / "config.json").read_bytes()
    one, other = (load_trainer(folder / "trainer.pt", []) for folder in (run, again))
    for state in (one, other):
        del state["run"]  # the metrics, which have times in them
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert (again / "samples.txt").read_bytes() == (run / "samples.txt").read_bytes()
    scores = [[row.get("loss", row.get("validation_loss")) for row in Run.open(f).metrics()] for f in (run, again)]
    assert scores[0] == scores[1]

    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    changed = ["--config", str(run / "config.json"), "--seed", "5", "--steps", "2"]
    assert cli.main(["text", "train", *changed, "--device", "cpu", "--out", str(place / "other")]) == 0
    differs = "config.json: done again with threads 2 (the run has 1): the last bits of its numbers may differ"
    assert differs in capsys.readouterr().err
    assert Run.open(place / "other").config["settings"]["schedule"]["seed"] == 5
    config = json.loads((run / "config.json").read_text())
    (place / "toy.txt").write_text(TEXT[1:])
    moved = place / "moved.json"
    config["settings"]["corpus"] = str(place / "toy.txt")
    moved.write_text(json.dumps(config))
    line = f"{moved}: the run read another text than {place / 'toy.txt'} is now"
    assert line in told(capsys, ["text", "train", "--config", str(moved), "--out", str(place / "third")], 2)


def test_a_run_that_goes_on_elsewhere_says_so(place: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert cli.main(["text", "train", "--resume", "--out", str(place / "run")]) == 0
    differs = "run: goes on with threads 2 (the run has 1): the last bits of its numbers may differ"
    assert differs in capsys.readouterr().err


def test_compare_shows_a_sample_of_each_a_table_and_where_all_is(place: Path, capsys: Capture) -> None:
    given = ["text", "compare", *corpus(place), *SIZES[1:], *SHORT, "--networks", "lstm", "hyper-lstm"]
    given += ["--parameters", "7065", "--out", str(place / "pair")]
    assert cli.main(given) == 0
    out = capsys.readouterr().out
    rows = json.loads((place / "pair" / "compare.json").read_text())
    assert [row["network"] for row in rows] == ["lstm", "hyper-lstm"]
    for row in rows:
        assert re.search(rf"{row['network']} .* {row['parameters']:,} .* {row['validation_bpc'][0]:.3f}", out)
    assert out.count("[length 300, temperature 0.8") == 2
    assert f"runs, their samples and compare.json: {place / 'pair'}" in out.replace("\n", "")
    assert cli.main([*given, "--resume"]) == 0
    assert json.loads((place / "pair" / "compare.json").read_text()) == rows


def test_a_split_of_bytes_is_scored_as_it_is(place: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The split begins and ends within a character: as text, its bytes would be others."""
    content = "1é2é3…".encode() * 100
    parts = content[:702], content[702:802], content[802:]
    assert parts[1][0] & 0xC0 == 0x80
    (place / "bytes").write_bytes(content)
    monkeypatch.setenv("HYPERNETWORKS_DATA", str(place))
    text8 = NAMED_SETS["text8"]
    file = type(text8.files[0])(("bytes",), limit=10_000)
    named = type(text8)("bytes", (file,), lambda _: tuple(part.decode("latin-1") for part in parts), "byte")
    monkeypatch.setitem(NAMED_SETS, "text8", named)
    assert cli.main(["text", "train", "--corpus", "text8", *SIZES, *SHORT, "--out", str(place / "of-bytes")]) == 0
    score = float(Run.open(place / "of-bytes").best_model()[1]["score"])
    capsys.readouterr()
    assert cli.main(["text", "evaluate", str(place / "of-bytes")]) == 0
    assert f"99 bytes predicted, one stream\n{score:.4f} nats, " in capsys.readouterr().out
    (place / "text.txt").write_text("1é2é3…" * 20)
    assert cli.main(["text", "evaluate", str(place / "of-bytes"), "--text", str(place / "text.txt")]) == 0
    assert f"{len('1é2é3…'.encode()) * 20 - 1} bytes predicted" in capsys.readouterr().out


def test_a_run_on_a_users_own_text_works_from_any_folder_but_on_that_text_alone(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "own.txt").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["text", "train", "--corpus", "own.txt", *SIZES, *SHORT, "--out", "run"]) == 0
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert cli.main(["text", "evaluate", "../run"]) == 0
    assert cli.main(["text", "train", "--out", "../run", "--resume"]) == 0
    (tmp_path / "own.txt").write_text(TEXT + "more")
    capsys.readouterr()
    for command in (["evaluate", "../run"], ["train", "--out", "../run", "--resume"]):
        assert cli.main(["text", *command]) == 2
        assert "the run read another text than" in capsys.readouterr().err


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_of_every_command_tells_its_flags(command: str, capsys: Capture) -> None:
    assert cli.main([*command.split(), "--help"]) == 0
    out = capsys.readouterr().out
    assert f"usage: hypernetworks {command}" in out
    assert "--data-dir" in out or command in ("text generate", "text report", "text serve", "bench")


def test_the_version_is_that_of_the_installed_package(capsys: Capture) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"hypernetworks {version('hypernetworks')}\n"


@pytest.mark.parametrize("given", [[], ["--help"], ["-h"], ["help"]])
def test_the_overview_names_every_command(given: list[str], capsys: Capture) -> None:
    assert cli.main(given) == 0
    out = capsys.readouterr().out
    assert all(f"hypernetworks {command} " in out for command in cli.COMMANDS)
    assert cli.main(["text"]) == 0
    assert re.findall(r"hypernetworks (\w+ \w+) ", capsys.readouterr().out) == [
        command for command in cli.COMMANDS if command.startswith("text ")
    ]


@pytest.mark.parametrize("command", ["doctor", "data list"])
def test_every_named_set_is_listed(command: str, capsys: Capture) -> None:
    assert cli.main(command.split()) == 0
    out = capsys.readouterr().out
    for name, named in ALL_SETS.items():
        assert re.search(rf"^(data: )?{name} ", out, re.MULTILINE)
        assert all(file.names[0].split(".zip")[0] in out or file.origin or file.optional for file in named.files)
    assert command != "doctor" or str(torch.__version__) in out


def told(capsys: Capture, given: list[str], code: int) -> str:
    """The one line of a command that fails with this exit code."""
    capsys.readouterr()
    assert cli.main(given) == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("hypernetworks: ")
    return error.removeprefix("hypernetworks: ").rstrip("\n")


TRAIN = "text train --corpus {0}/toy.txt --out {0}/new "
NONSENSE = {
    "txt train": "no command 'txt': expected text train, ",
    "text trian": "no command 'text trian': did you mean text train\\? ",
    "texttrain": r"no command 'texttrain': did you mean text train\?",
    "text serve-all": "no command 'text serve-all': ",
    TRAIN + "--lenght 3": "Unrecognized options: --lenght",
    TRAIN + "--batch-size two": "--batch-size.* invalid literal for int.* 'two'|invalid .*two",
    TRAIN + "--batch-size": "--batch-size",
    TRAIN + "--steps 1.5": "1.5",
    TRAIN + "--network gru": "invalid choice 'gru' for argument '--network'",
    TRAIN + "--preset huge": "preset should be one of default, .* got 'huge'",
    TRAIN + "--preset": "--preset: expected one argument",
    TRAIN + "--hidden-size 0": "hidden_size should be at least 1, got 0",
    TRAIN + "--hidden-size 10000000000": "larger than any tensor",
    TRAIN + "--learning-rate nan": "learning_rate should be a finite number above 0, got nan",
    TRAIN + "--tie-weights": "tie_weights needs embedding_size and hidden_size to be equal, got .* 64 .* 256",
    TRAIN + "--warmup -5": "warmup should be at least 0, got -5",
    TRAIN + "--device warp": "device should be auto, cpu, .* got 'warp'",
    TRAIN + "--length 5000": "the training text has .* characters, fewer than one batch: .* length 5000",
    TRAIN + "--resume": "new: no such folder, expected a run",
    TRAIN + "--config {0}/none": "none: no such file",
    TRAIN + "--config {0}/toy.txt": "toy.txt: not valid JSON",
    TRAIN + "--config {0}/foreign/config.json": "foreign/config.json: not a run of hypernetworks text",
    TRAIN
    + "--config {0}/run/config.json --resume": "from one of --preset, --config and --resume, got --config and --resume",
    "text train --resume --preset demo --out {0}/run": "got --preset and --resume",
    "text train --corpus {0}/none --out {0}/new": "no data set, file or folder '.*none': expected shakespeare, ",
    "text train --corpus enwik --out {0}/new": "no data set, file or folder 'enwik': did you mean enwik8",
    "text train --corpus {0}/empty --out {0}/new": "the text of .*empty is empty",
    "text train --corpus {0}/binary --out {0}/new": "binary is not UTF-8 text: byte 0xff at 3",
    "text train --corpus {0}/short --out {0}/new": "short has 5 characters, too few to split: expected 40",
    "text train --corpus ptb-char --out {0}/new": "ptb.train.txt was not found and cannot be fetched: put it in ",
    "text train --corpus {0}/toy.txt --out {0}/run --batch-size 2": "run: already holds a run: give --resume ",
    "text train --corpus {0}/toy.txt --out {0} --batch-size 2": "holds other files",
    "text train --corpus {0}/toy.txt --out {0}/toy.txt --batch-size 2": "toy.txt: a file stands where the run's folder",
    "text train --resume --out {0}/toy.txt": "toy.txt: is a file, expected a run",
    "text train --resume --out {0}/foreign": "foreign: not a run of hypernetworks text",
    "text train --resume --out {0}/run --batch-size 5": "goes on with its own settings, .* batch_size 5 .* has 2",
    "text evaluate": "PATH|run",
    "text evaluate {0}/none": "none: no such folder, expected a run",
    "text evaluate {0}": r"not a run's folder \(it has no config.json\)",
    "text evaluate {0}/run --split dev": "split should be train, validation or test, got 'dev'",
    "text evaluate {0}/run --characters -1": "characters should be at least 0",
    "text evaluate {0}/run --characters 1": "at least 2 characters is needed to score a model, got 1",
    "text evaluate {0}/run --text {0}/latin": "that the alphabet has not: 'L' at 0",
    "text generate {0}/foreign": "foreign: not a run of hypernetworks text",
    "text generate {0}/run --temperature -1": "temperature should be .* at least 0, got -1.0",
    "text generate {0}/run --top-p 0": r"top_p should lie in \(0, 1\], got 0.0",
    "text generate {0}/run --prompt Éh": "'É' at 0; expected one of|'É' at 0, 'h' at 1; expected",
    "text report": "PATH|runs",
    "text report {0}/none": "none: no such folder, expected a run",
    "text report {0}/foreign": "foreign: not a run of hypernetworks text",
    "text report {0}/run {0}/none": "none: no such folder, expected a run",
    "text report {0}/run --text {0}/latin": "that the alphabet has not: 'L' at 0",
    "text report {0}/run --text É": "'É' at 0; expected one of",
    "text report {0}/run --text {0}/empty": "text should have 1 to 10,000 characters to be coloured, got 0",
    "text report {0}/run --text {0}/binary": "binary is not UTF-8 text: byte 0xff at 3",
    "text report {0}/run --length 0": "length should be at least 1, got 0",
    "text report {0}/run --device warp": "device should be auto, cpu, .* got 'warp'",
    "text compare --corpus {0}/toy.txt --hidden-size 7": "compare chooses --hidden-size itself, got 7",
    "text compare --corpus {0}/toy.txt --network rhn": "compare chooses --network itself, got rhn",
    "text compare --corpus {0}/toy.txt --networks gru": "gru",
    "text compare --corpus {0}/toy.txt --networks lstm lstm": "networks should all be different, got lstm lstm",
    "text compare --corpus {0}/toy.txt --parameters 10": "no lstm has within 1% of 10 parameters",
    "text compare --corpus {0}/toy.txt --seeds 1 1 --out {0}/new": "seeds should be one or more different numbers",
    "data get enwik": "did you mean enwik8",
    "data get ptb-char": "ptb.train.txt was not found and cannot be fetched: put it in ",
}


@pytest.mark.parametrize("words", NONSENSE)
def test_nonsense_is_one_line_and_exit_code_2(words: str, place: Path, capsys: Capture) -> None:
    (place / "empty").touch()
    (place / "binary").write_bytes(b"abc\xff\x00\x01" * 100)
    (place / "short").write_text("short")
    (place / "latin").write_text("Lorem ipsum " * 10)
    Run.create(place / "foreign", {"experiment": "vision"})
    line = told(capsys, [word.format(place) for word in words.split()], 2)
    assert re.search(NONSENSE[words], line), line
    assert not (place / "new").exists()


def cut(name: str) -> Callable[[Path], None]:
    return lambda run: (run / name).write_bytes((run / name).read_bytes()[:-50])


def cut_model_alone(run: Path) -> None:
    cut("model.safetensors")(run)
    (run / "trainer.pt").unlink()
    (run / "trainer.before.pt").unlink()


def flip(path: Path, place: float) -> None:
    """Change one byte, so far into the file."""
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] ^= 0x55
    path.write_bytes(data)


@pytest.mark.parametrize("place_in_file", [0.0, 0.4, 0.8, 1.0])
@pytest.mark.parametrize("name", ["trainer.pt", "trainer.before.pt", "model.safetensors", "metrics.jsonl"])
def test_a_changed_byte_in_any_file_leaves_a_good_state_that_is_gone_on_with(
    name: str, place_in_file: float, place: Path, capsys: Capture
) -> None:
    """The run is finished: what it ended with has to come again."""
    run = place / "run"
    last = load_trainer(run / "trainer.pt", [])
    model = load_model(run / "model.safetensors")
    flip(run / name, place_in_file)
    for command in (["generate", str(run), "--length", "5"], ["evaluate", str(run)]):
        assert cli.main(["text", *command]) == 0
    assert cli.main(["text", "train", "--resume", "--out", str(run)]) == 0
    assert ("going on from the commit before it, of step 2" in capsys.readouterr().err) == (name == "trainer.pt")
    again = load_trainer(run / "trainer.pt", [])
    for state in (last, again):
        del state["run"]  # the metrics, which have times in them
    torch.testing.assert_close(again, last, rtol=0, atol=0)
    torch.testing.assert_close(load_model(run / "model.safetensors")[0], model[0], rtol=0, atol=0)


@pytest.mark.parametrize("how", ["changed", "cut", "missing"])
def test_a_damaged_config_is_one_line_and_nothing_is_changed(how: str, place: Path, capsys: Capture) -> None:
    run = place / "run"
    config = run / "config.json"
    data = config.read_bytes()
    if how == "missing":
        config.unlink()
    else:
        config.write_bytes(data[:-50] if how == "cut" else data.replace(b'"batch_size": 2', b'"batch_size": 3'))
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    for command in (["generate", str(run)], ["evaluate", str(run)], ["train", "--resume", "--out", str(run)]):
        assert "config.json" in told(capsys, ["text", *command], 2)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    config.write_bytes(data)
    assert cli.main(["text", "train", "--resume", "--out", str(run)]) == 0


def test_a_truncated_model_alone_cannot_be_used(place: Path, capsys: Capture) -> None:
    text = ["text", "generate", str(place / "run"), "--length", "5"]
    cut("model.safetensors")(place / "run")
    assert cli.main(text) == 0  # trainer.pt holds it, too
    cut_model_alone(place / "run")
    assert "model.safetensors: not a whole safetensors file" in told(capsys, text, 2)
    line = told(capsys, ["text", "train", "--resume", "--out", str(place / "run")], 2)
    assert "trainer.pt: missing, though model.safetensors tells of a commit" in line


def test_a_report_that_cannot_be_written_is_one_line_and_leaves_nothing(place: Path, capsys: Capture) -> None:
    given = ["text", "report", str(place / "run"), "--length=3", "--out"]
    assert "none/r.html: cannot be written: No such file or directory" in told(
        capsys, [*given, str(place / "none" / "r.html")], 1
    )
    assert "place: cannot be written: Is a directory" in told(capsys, [*given, str(place)], 1)
    assert sorted(path.name for path in place.iterdir()) == ["run", "toy.txt"]
    assert not list(place.parent.glob("*.tmp"))


def test_a_report_is_made_in_the_runs_folder_or_where_it_is_asked_for(place: Path, capsys: Capture) -> None:
    (place / "mine.txt").write_text("7 is 49: so")
    given = ["text", "report", str(place / "run"), "--length=9"]
    for out, more in (("run/report.html", []), ("mine.html", [f"--text={place}/mine.txt", f"--out={place}/mine.html"])):
        capsys.readouterr()
        assert cli.main([*given, *more]) == 0
        assert capsys.readouterr().out == f"report: {place / out}\n"
        assert (place / out).read_text().endswith("</html>\n")
    assert f"<h3>{place}/mine.txt</h3>" in (place / "mine.html").read_text()


def test_a_disk_that_is_full_or_read_only_is_one_line_and_exit_code_1(
    place: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(error: OSError) -> Callable[..., None]:
        def call(*_: object, **__: object) -> None:
            raise error

        return call

    given = ["text", "train", *corpus(place), *SIZES, *SHORT, "--out", str(place / "new")]
    monkeypatch.setattr(os, "fsync", refuse(OSError(28, "No space left on device")))
    assert "new: cannot be made: No space left on device" in told(capsys, given, 1)
    monkeypatch.undo()
    monkeypatch.setattr(Path, "mkdir", refuse(OSError(30, "Read-only file system")))
    assert "new2: cannot be made: Read-only file system" in told(capsys, [*given[:-1], str(place / "new2")], 1)
    monkeypatch.undo()
    monkeypatch.setattr(torch, "manual_seed", refuse(PermissionError(13, "Permission denied")))
    assert "the system refused: [Errno 13] Permission denied" in told(
        capsys, ["text", "train", "--resume", "--out", str(place / "run")], 1
    )


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_is_one_line_and_the_shells_exit_code(
    number: int, code: int, word: str, place: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hypernetworks.training.loop import Trainer

    take = Trainer._take_step

    def sent(self: Trainer) -> tuple[float, int]:
        os.kill(os.getpid(), number)
        return take(self)

    given = ["text", "train", *corpus(place), *SIZES, *SHORT, "--out", str(place / "new")]
    monkeypatch.setattr(Trainer, "_take_step", sent)
    assert cli.main(given) == code
    assert capsys.readouterr().err.endswith(f"hypernetworks: {word}; a training goes on where it was with --resume\n")
    monkeypatch.setattr(Trainer, "_take_step", take)
    assert cli.main(["text", "train", "--resume", "--out", str(place / "new")]) == 0
    assert [row["step"] for row in Run.open(place / "new").metrics() if "loss" in row] == [1, 2, 3, 4]


def command(*given: str, **streams: object) -> subprocess.CompletedProcess[str]:
    """A process of its own, its output buffered as it is by default."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": ""}
    program = [sys.executable, "-c", "import sys; from hypernetworks.cli import main; sys.exit(main())", *given]
    return subprocess.run(program, env=environment, text=True, timeout=120, **streams)  # type: ignore[call-overload]


def test_a_pipe_that_nobody_reads_is_no_traceback(trained: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = command("text", "generate", str(trained / "run"), stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_output_that_cannot_be_written_is_one_line() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = command("--help", stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (
        1,
        "hypernetworks: the system refused: [Errno 28] No space left on device\n",
    )


def test_letters_that_a_terminal_lacks_are_replaced(place: Path, capsys: Capture) -> None:
    (place / "accents.txt").write_text("é…" * 200)
    given = ["text", "train", "--corpus", str(place / "accents.txt"), *SIZES, *SHORT, "--out", str(place / "accents")]
    assert cli.main(given) == 0
    done = command(
        "text", "generate", str(place / "accents"), "--length", "9", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "?" * 9 + "\n", "")
