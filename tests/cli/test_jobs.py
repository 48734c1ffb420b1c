"""What works works from end to end: train, evaluate, generate, compare, report."""

import hashlib
import json
import math
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hypernetworks import cli
from hypernetworks.runs.checkpoint import load_trainer
from hypernetworks.runs.run import Run
from hypernetworks.text.data_sets import NAMED_SETS
from hypernetworks.training.loop import Trainer

from .toy import SHORT, SIZES, TEXT, Capture, corpus, error_line


def test_train_evaluate_generate_and_resume_in_one_go(place: Path, capsys: Capture) -> None:
    run = place / "again"
    assert cli.main(["text", "train", *corpus(place), *SIZES, *SHORT, "--seed", "3", "--out", str(run)]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"{place / 'toy.txt'}: train {len(TEXT) * 90 // 100:,}, ")
    count = sum(tensor.numel() for tensor in Run.open(run).best_model()[0].values())
    assert f"{len(set(TEXT))} symbols; hyper-lstm, {count:,} parameters" in shown.out
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
    torch.manual_seed(7)  # another process starts with other random numbers
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
    differs = "config.json: repeated with threads 2 (the run has 1): the last bits of the results may differ"
    assert differs in capsys.readouterr().err
    assert Run.open(place / "other").config["settings"]["schedule"]["seed"] == 5
    config = json.loads((run / "config.json").read_text())
    (place / "toy.txt").write_text(TEXT[1:])
    moved = place / "moved.json"
    config["settings"]["corpus"] = str(place / "toy.txt")
    moved.write_text(json.dumps(config))
    line = f"{moved}: was trained on other data than {place / 'toy.txt'} has now"
    assert line in error_line(capsys, ["text", "train", "--config", str(moved), "--out", str(place / "third")], 2)


def test_a_run_that_goes_on_elsewhere_says_so(place: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert cli.main(["text", "train", "--resume", "--out", str(place / "run")]) == 0
    differs = "run: resumed with threads 2 (the run has 1): the last bits of the results may differ"
    assert differs in capsys.readouterr().err


def test_compare_shows_a_sample_of_each_a_table_and_where_all_is(place: Path, capsys: Capture) -> None:
    given = ["text", "compare", *corpus(place), *SIZES[1:], *SHORT, "--networks", "lstm", "hyper-lstm"]
    given += ["--parameters", "7065", "--out", str(place / "pair")]
    assert cli.main([*given, "--resume"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith(f"{place / 'pair'}: holds no comparison yet: starting one\n")
    rows = json.loads((place / "pair" / "compare.json").read_text())
    assert [row["variant"] for row in rows] == ["lstm", "hyper-lstm"]
    for row in rows:
        assert re.search(
            rf"{row['variant']} .* {row['figures']['parameters']:,} .* {row['scores']['validation_bpc'][0]:.3f}", out
        )
    assert out.count("[length 300, temperature 0.8") == 2
    assert f"runs and compare.json: {place / 'pair'}" in out.replace("\n", "")
    assert cli.main([*given, "--resume"]) == 0
    assert "holds no comparison" not in capsys.readouterr().err
    assert json.loads((place / "pair" / "compare.json").read_text()) == rows


def test_a_part_of_the_validation_text_is_counted_alike_everywhere(place: Path, capsys: Capture) -> None:
    given = [*corpus(place), *SIZES, *SHORT, "--validation-characters", "60", "--out", str(place / "part")]
    assert cli.main(["text", "train", *given]) == 0
    score = float(Run.open(place / "part").best_model()[1]["score"])
    capsys.readouterr()
    assert cli.main(["text", "evaluate", str(place / "part"), "--characters", "60"]) == 0
    assert f"59 characters predicted, one stream\n{score:.4f} nats, " in capsys.readouterr().out
    assert cli.main(["text", "evaluate", "--help"]) == 0
    assert "Read the first N characters only, and score the N - 1 after the first" in " ".join(
        capsys.readouterr().out.replace("│", " ").split()
    )


def test_a_split_of_bytes_is_scored_as_it_is(place: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The split begins and ends within a character: as text, its bytes would be others."""
    content = "1é2é3…".encode() * 100
    parts = content[:702], content[702:802], content[802:]
    assert parts[1][0] & 0xC0 == 0x80
    (place / "bytes").write_bytes(content)
    monkeypatch.setenv("HYPERNETWORKS_DATA", str(place))
    text8 = NAMED_SETS["text8"]
    file = type(text8.files[0])(("bytes",), limit=10_000)
    named = type(text8)("bytes", (file,), lambda _: tuple(part.decode("latin-1") for part in parts), "byte", license="")
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
        assert "was trained on other data than" in capsys.readouterr().err


def test_a_run_resumes_where_its_text_has_moved_to(place: Path, capsys: Capture) -> None:
    """Stopped after step 2 of 4, it ends with the bits of the run that was never stopped."""
    given = ["text", "train", *corpus(place), *SIZES, *SHORT]
    take, moved, out = Trainer.take_step, place / "elsewhere" / "text", str(place / "new")

    def stopped(self: Trainer) -> tuple[float, int]:
        if self.step == 3:
            raise KeyboardInterrupt
        return take(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "take_step", stopped)
        assert cli.main([*given, "--out", out]) == 130
    before = (place / "new" / "config.json").read_bytes()
    moved.parent.mkdir()
    (place / "toy.txt").rename(moved)
    resume = ["text", "train", "--resume", "--out", out]
    assert error_line(capsys, resume, 2).endswith("; if the run's text has moved, give its new path with --corpus")
    (place / "other").write_text(TEXT + "more")
    line = error_line(capsys, [*resume, "--corpus", str(place / "other")], 2)
    sums = [hashlib.sha256(text.encode()).hexdigest()[:12] for text in (TEXT, TEXT + "more")]
    assert line.startswith(f"{out}: was trained on other data than {place / 'other'} has now: ")
    assert f": {place / 'toy.txt'} with the sha256 {sums[0]}… (train {len(TEXT) * 90 // 100}, " in line
    assert f"; now {place / 'other'} with the sha256 {sums[1]}… (train {len(TEXT + 'more') * 90 // 100}, " in line
    changed = [*resume, "--corpus", str(moved), "--batch-size", "5"]
    assert error_line(capsys, changed, 2).endswith("own settings, but was given batch_size 5 (the run has 2)")
    assert cli.main([*resume, "--corpus", str(moved)]) == 0
    assert (place / "new" / "config.json").read_bytes() == before
    one, other = (load_file(place / name / "model.safetensors") for name in ("run", "new"))
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_comparison_resumes_where_its_text_has_moved_to(place: Path, capsys: Capture) -> None:
    given = ["text", "compare", *SIZES[1:], *SHORT, "--networks", "lstm", "gru", "--parameters", "7065"]
    given += ["--out", str(place / "pair"), "--corpus"]
    assert cli.main([*given, str(place / "toy.txt")]) == 0
    shutil.rmtree(place / "pair" / "gru-seed0")
    kept = (place / "pair" / "lstm-seed0" / "trainer.pt").read_bytes()
    (place / "toy.txt").rename(place / "moved.txt")
    assert cli.main([*given, str(place / "moved.txt"), "--resume"]) == 0
    assert (place / "pair" / "lstm-seed0" / "trainer.pt").read_bytes() == kept
    assert Run.open(place / "pair" / "gru-seed0").config["settings"]["corpus"] == str(place / "moved.txt")
    (place / "moved.txt").write_text(TEXT + "7")
    line = error_line(capsys, [*given, str(place / "moved.txt"), "--resume"], 2)
    assert f"lstm-seed0: was trained on other data than {place / 'moved.txt'} has now: {place / 'toy.txt'} " in line


def test_a_report_is_made_in_the_runs_folder_or_where_it_is_asked_for(place: Path, capsys: Capture) -> None:
    (place / "mine.txt").write_text("7 is 49: so")
    given = ["text", "report", str(place / "run"), "--length=9"]
    for out, more in (("run/report.html", []), ("mine.html", [f"--text={place}/mine.txt", f"--out={place}/mine.html"])):
        capsys.readouterr()
        assert cli.main([*given, *more]) == 0
        assert capsys.readouterr().out == f"report: {place / out}\n"
        assert (place / out).read_text().endswith("</html>\n")
    assert f"<h3>{place}/mine.txt</h3>" in (place / "mine.html").read_text()
