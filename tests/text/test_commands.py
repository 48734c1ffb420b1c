"""The commands around a trained model: prompts, samples, texts to score, and what a terminal gets."""

import io
import json
import re
import sys
from pathlib import Path

import pytest
import torch

import hypernetworks as hn
from hypernetworks import cli
from hypernetworks.terminal import printable
from hypernetworks.text.trained import TrainedText

from ..small_run import trained  # noqa: F401  (a fixture)

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def run(trained: Path) -> Path:  # noqa: F811
    return trained


def generated(run: Path, *given: str) -> int:
    return cli.main(["text", "generate", str(run), "--length", "12", "--device", "cpu", *given])


def scored(run: Path, *given: str) -> int:
    return cli.main(["text", "evaluate", str(run), "--device", "cpu", *given])


def model_of(run: Path) -> TrainedText:
    lm = hn.load(run)
    assert isinstance(lm, TrainedText)
    return lm


class Input(io.TextIOWrapper):
    """Standard input with these bytes."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_prompt_comes_from_standard_input_or_a_file(
    run: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is, but for the line ends of other systems and a byte-order mark; a last newline is part of it."""
    expected = "7 is\n" + model_of(run).generate("7 is\n", 12) + "\n"
    monkeypatch.setattr(sys, "stdin", Input(b"\xef\xbb\xbf7 is\r\n"))
    assert generated(run, "--prompt", "-") == 0
    assert capsys.readouterr().out == expected
    (tmp_path / "prompt.txt").write_text("7 is\n")
    assert generated(run, "--prompt-file", str(tmp_path / "prompt.txt")) == 0
    assert capsys.readouterr().out == expected


def test_prompts_that_cannot_be_read_are_one_line(
    run: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Input(b"caf\xe9"))
    for given, message in (
        (["--prompt", "-"], "/dev/stdin is not UTF-8 text: byte 0xe9 at 3: if it is WINDOWS-1252, convert it: iconv"),
        (["--prompt-file", str(tmp_path / "none")], "none: no such file"),
        (["--prompt", "a", "--prompt-file", "b"], "give --prompt or --prompt-file, got both: 'a' and b"),
        (["--samples", "0"], "samples should be at least 1, got 0"),
        (["--seed", str(2**64 - 1), "--samples", "2"], "seed should fit into 64 bits"),
    ):
        assert generated(run, *given) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert message in err
        assert err.count("\n") == 1


def test_several_samples_have_the_seeds_that_follow(run: Path, capsys: Capture) -> None:
    lm = model_of(run)
    texts = {seed: lm.generate("7 is ", 12, seed=seed) for seed in (5, 6, 7)}
    given = ["--prompt", "7 is ", "--seed", "5", "--samples", "3"]
    assert generated(run, *given) == 0
    parts = [f"[{number} of 3, seed {seed}]\n7 is {texts[seed]}\n" for number, seed in enumerate(texts, 1)]
    assert capsys.readouterr().out == "".join(parts)
    assert generated(run, *given, "--json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == [
        {"prompt": "7 is ", "text": text, "seed": seed} for seed, text in texts.items()
    ]


def test_a_terminal_gets_control_characters_as_escapes(
    run: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert printable("a\tb\n\x1b[31m\r\x9b é\u4e2d") == "a\tb\n\\x1b[31m\\r\\x9b é\u4e2d"
    monkeypatch.setattr("hypernetworks.text.commands.generate", lambda *given: iter(["\x1b[31m", "é"]))
    assert generated(run, "--prompt", "7 ") == 0
    assert capsys.readouterr().out == "7 \x1b[31mé\n"
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert generated(run, "--prompt", "7 ") == 0
    assert generated(run, "--prompt", "7 ", "--json") == 0
    assert terminal.getvalue() == '7 \\x1b[31mé\n{"prompt": "7 ", "text": "\\u001b[31m\\u00e9", "seed": 0}\n'


def test_a_text_of_two_characters_has_a_score(run: Path, tmp_path: Path, capsys: Capture) -> None:
    """It is not split, so it need not be long, and may be of one character."""
    text = tmp_path / "text.txt"
    for content in ("7 ", "77"):
        text.write_text(content)
        assert scored(run, "--text", str(text)) == 0
        out = capsys.readouterr().out
        assert out.startswith(f"{run} on {text}, whole text: 1 characters predicted, one stream\n")
        assert f"{model_of(run).evaluate(content).nats:.4f} nats" in out
    text.write_text("7")
    assert scored(run, "--text", str(text)) == 2
    assert "scoring requires a text of at least 2 symbols, got 1" in capsys.readouterr().err


def test_unknown_characters_after_what_is_read_do_not_matter(run: Path, tmp_path: Path, capsys: Capture) -> None:
    text, lm = tmp_path / "text.txt", model_of(run)
    text.write_text("7 is 49é")
    assert scored(run, "--text", str(text), "--characters", "7") == 0
    assert f"{lm.evaluate('7 is 49').nats:.4f} nats" in capsys.readouterr().out
    assert lm.evaluate("7 is 49é", characters=7) == lm.evaluate("7 is 49")
    assert scored(run, "--text", str(text), "--characters", "8") == 2
    assert "the text has characters that the alphabet lacks: 'é' at 7" in capsys.readouterr().err


def test_dynamic_evaluation_of_another_text_takes_its_statistics_from_the_training_text(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[torch.Tensor] = []

    def evaluating(model: object, ids: torch.Tensor, training: torch.Tensor, dynamics: object) -> object:
        taken.extend([ids, training])
        return hn.load(run).evaluate("7 ")

    monkeypatch.setattr("hypernetworks.text.commands.evaluate_dynamically", evaluating)
    (tmp_path / "text.txt").write_text("7 is 49")
    assert scored(run, "--text", str(tmp_path / "text.txt"), "--dynamic") == 0
    own = (run.parent / "toy.txt").read_text()
    alphabet = model_of(run).alphabet
    assert [alphabet[i] for i in taken[0]] == list("7 is 49")
    assert "".join(alphabet[i] for i in taken[1]) == own[: len(own) * 90 // 100]


def test_a_run_reads_a_text_for_each_split(tmp_path: Path, capsys: Capture) -> None:
    """The whole of each, also where the run is resumed from another folder, with moved texts, and evaluated."""
    texts = {"train": "abc, so it is.\n" * 20, "valid": "it is abc.\n", "test": "so, abd"}
    for name, text in texts.items():
        (tmp_path / f"{name}.txt").write_text(text)
    small = ["--network=lstm", "--hidden-size=4", "--embedding-size=3", "--batch-size=2", "--length=8", "--warmup=0"]
    given = [f"--corpus={tmp_path}/train.txt", f"--validation-text={tmp_path}/valid.txt"]
    run = str(tmp_path / "run")
    train = ["text", "train", "--out", run, "--device=cpu", "--steps=2", *small]
    assert cli.main([*train, *given, f"--test-text={tmp_path}/test.txt"]) == 0
    assert f"{tmp_path}/train.txt: train 300, validation 11, test 7 characters, 12 symbols" in capsys.readouterr().out
    assert cli.main(["text", "evaluate", run, "--split", "test", "--device", "cpu"]) == 0
    assert "test: 6 characters predicted" in capsys.readouterr().out
    (tmp_path / "valid.txt").rename(tmp_path / "moved.txt")
    assert cli.main(["text", "train", "--out", run, "--resume"]) == 2
    flags = "--corpus or --validation-text or --test-text"
    assert capsys.readouterr().err.endswith(f"if the run's text has moved, give its new path with {flags}\n")
    assert cli.main(["text", "train", "--out", run, "--resume", f"--validation-text={tmp_path}/moved.txt"]) == 0
    # the same characters, split elsewhere, are another corpus
    (tmp_path / "moved.txt").write_text(texts["valid"][1:])
    (tmp_path / "train.txt").write_text(texts["train"] + texts["valid"][0])
    assert cli.main(["text", "train", "--out", run, "--resume", f"--validation-text={tmp_path}/moved.txt"]) == 2
    assert "was trained on other data than" in capsys.readouterr().err


def test_a_model_of_the_bytes_of_a_text_reads_any_text(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "text.txt").write_text("né, 中文.\n" * 40)
    small = ["--network=lstm", "--hidden-size=4", "--embedding-size=3", "--batch-size=2", "--length=8", "--warmup=0"]
    given = [
        "--steps=2",
        "--device=cpu",
        f"--corpus={tmp_path}/text.txt",
        "--unit=byte",
        "--out",
        str(tmp_path / "run"),
    ]
    assert cli.main(["text", "train", *small, *given]) == 0
    out, err = capsys.readouterr()
    assert "train 468, validation 26, test 26 bytes, 256 symbols" in out  # 13 bytes a line
    assert all(re.search(r"validation.*: [\d.]+ nats, [\d.]+ bits per byte\n", printed) for printed in (out, err))
    (tmp_path / "other.txt").write_text("Ω≠")
    assert scored(tmp_path / "run", "--text", str(tmp_path / "other.txt")) == 0
    assert "4 bytes predicted" in capsys.readouterr().out
    assert generated(tmp_path / "run", "--prompt", "Ω≠") == 0
    assert capsys.readouterr().out.startswith("Ω≠")
    # another text needs no characters of the first
    again = ["--init-from", str(tmp_path / "run"), f"--corpus={tmp_path}/new.txt", "--out", str(tmp_path / "again")]
    (tmp_path / "new.txt").write_text("Ω≠ and more of it\n" * 40)
    assert cli.main(["text", "train", *again]) == 0
    assert model_of(tmp_path / "again").unit == "byte"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--unit", "byte"], "shakespeare is read by character: unit byte is for a corpus that is a path"),
        (["--test-text", "t"], "test_text requires a validation_text: the corpus is not split, got 't' alone"),
        (
            ["--validation-text", "v"],
            "shakespeare has splits of its own: a validation_text is for a corpus that is a path",
        ),
        (["--corpus", "TEXT", "--validation-text", "none"], "no file or folder 'none': expected the path of a text"),
        (["--corpus", "TEXT", "--validation-text", "EMPTY"], "empty.txt is empty"),
    ],
    ids=["bytes of a named set", "a test text alone", "of a named set", "no such text", "an empty text"],
)
def test_texts_of_splits_that_cannot_be(
    given: list[str], message: str, run: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "empty.txt").write_text("\n\n")
    places = {"TEXT": str(run.parent / "toy.txt"), "EMPTY": str(tmp_path / "empty.txt")}
    words = [places.get(word, word) for word in given]
    assert cli.main(["text", "train", "--out", str(tmp_path / "new"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
