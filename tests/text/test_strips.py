"""`text strips`: a strip for each gate under the text, which is printed, from any run of a hyper network."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hypernetworks import cli
from hypernetworks.analysis.plots import strips
from hypernetworks.text import strips_command
from hypernetworks.text.coloured import coloured_text
from hypernetworks.text.config import TextConfig
from hypernetworks.text.corpus import Corpus
from hypernetworks.text.experiment import TEXT, load_run
from hypernetworks.text.strips_command import given_text

pytest.importorskip("matplotlib")

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def run(tiny: TextConfig, corpus: Corpus, tmp_path: Path) -> Path:
    return TEXT.train(tmp_path / "run", replace(tiny, schedule=replace(tiny.schedule, steps=2)), corpus, "tiny").folder


def test_a_sample_is_drawn_and_printed(run: Path, capsys: Capture) -> None:
    capsys.readouterr()
    assert cli.main(["text", "strips", str(run), "--length", "100", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    picture = (run / "strips.svg").read_text()
    assert printed.endswith(f"\nstrips: {run / 'strips.svg'}\n")
    text = printed.removesuffix(f"\nstrips: {run / 'strips.svg'}\n")
    assert len(text) == 100
    labels = re.findall(r"<!-- (.) -->", picture)
    assert all(labels.count(gate) >= 2 for gate in "ifgo")  # 80 characters a line, so two lines of four strips
    assert sum(labels.count(shown) for shown in set(labels)) >= 100 + 8


def test_a_given_text_is_drawn_to_a_given_file(run: Path, tmp_path: Path, capsys: Capture) -> None:
    given = ["text", "strips", str(run), "--text", "so it is", "--out", str(tmp_path / "given.svg"), "--device", "cpu"]
    assert cli.main(given) == 0
    assert "so it is\nstrips: " in capsys.readouterr().out
    labels = re.findall(r"<!-- (.*?) -->", (tmp_path / "given.svg").read_text())
    assert labels[:8] == list("so·it·is")
    assert any("in % of" in label for label in labels)


def test_the_strips_have_the_changes_of_the_report(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers for the same text; the first character of a given text has none."""
    drawn: list[torch.Tensor] = []
    monkeypatch.setattr(
        strips_command, "strips", lambda changes, *rest: [drawn.append(changes), strips(changes, *rest)][1]
    )
    model, _, symbols = load_run(run)
    assert cli.main(["text", "strips", str(run), "--text", "so it is", "--device", "cpu"]) == 0
    ids = given_text("so it is", symbols)[1]
    torch.testing.assert_close(
        drawn[0][1:], torch.tensor([letter.changes for letter in coloured_text(model, symbols, ids)[1:]])
    )
    assert drawn[0][0].isnan().all()


@pytest.mark.parametrize("name", ["file.txt", "folder/some.text"])
@pytest.mark.parametrize("command", ["strips", "report"])
def test_a_mistyped_file_name_is_not_taken_for_the_text(run: Path, command: str, name: str, capsys: Capture) -> None:
    capsys.readouterr()
    assert cli.main(["text", command, str(run), "--text", name, "--device", "cpu"]) == 2
    assert f"no such file: {name}; a text itself should not look like" in capsys.readouterr().err


def test_a_network_that_generates_no_weights_is_refused(
    tiny: TextConfig, corpus: Corpus, tmp_path: Path, capsys: Capture
) -> None:
    config = replace(tiny, model=replace(tiny.model, network="gru"), schedule=replace(tiny.schedule, steps=2))
    run = TEXT.train(tmp_path / "run", config, corpus, "tiny").folder
    capsys.readouterr()
    assert cli.main(["text", "strips", str(run), "--device", "cpu"]) == 2
    assert capsys.readouterr().err.endswith("run: gru generates no weights: there is no change to draw\n")
    assert not (run / "strips.svg").exists()
