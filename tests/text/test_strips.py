"""`text strips`: a strip for each gate under the text, which is printed, from any run of a hyper network."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from hypernetworks import cli
from hypernetworks.text.config import TextConfig
from hypernetworks.text.corpus import Corpus
from hypernetworks.text.experiment import TEXT

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
    assert re.findall(r"<!-- (.) -->", (tmp_path / "given.svg").read_text())[:8] == list("so·it·is")


def test_a_network_that_generates_no_weights_is_refused(
    tiny: TextConfig, corpus: Corpus, tmp_path: Path, capsys: Capture
) -> None:
    config = replace(tiny, model=replace(tiny.model, network="gru"), schedule=replace(tiny.schedule, steps=2))
    run = TEXT.train(tmp_path / "run", config, corpus, "tiny").folder
    capsys.readouterr()
    assert cli.main(["text", "strips", str(run), "--device", "cpu"]) == 2
    assert capsys.readouterr().err.endswith("run: gru generates no weights: there is no change to draw\n")
    assert not (run / "strips.svg").exists()
