"""Help, version and lists."""

import re
from importlib.metadata import version
from itertools import pairwise

import pytest
import torch

from hypernetworks import cli
from hypernetworks.data_sets import NAMED_SETS as ALL_SETS
from hypernetworks.strokes import presets as strokes
from hypernetworks.text import presets as text
from hypernetworks.text import study
from hypernetworks.vision import presets as vision

from .toy import Capture


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_of_every_command_tells_its_flags(command: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "2000")
    assert cli.main([*command.split(), "--help"]) == 0
    out = capsys.readouterr().out
    below = [line.startswith("│" + 20 * " ") for line in out.splitlines()]  # the text of the flag above
    assert not any(first and second for first, second in pairwise(below)), (
        "a text is broken, although there is room for it"
    )
    assert f"usage: hypernetworks {command}" in out
    assert "--data-dir" in out or command in (
        "text generate",
        "text report",
        "text strips",
        "text serve",
        "text export",
        "strokes draw",
        "strokes report",
        "strokes serve",
        "bench",
    )


def test_flags_that_a_command_refuses_say_what_to_give_instead(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "2000")
    for command in ("text compare", "strokes compare", "text study", "text train"):
        assert cli.main([*command.split(), "--help"]) == 0
        out = capsys.readouterr().out
        for instead in ("--networks", "--parameters", "--seeds"):
            assert (f"Not here: this command chooses it; give {instead}." in out) == (command != "text train")
        assert ("Which recurrent network." in out) == (command == "text train")


def test_every_preset_is_described(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(text.PRESETS_IN_WORDS) == list(text.PRESETS)
    assert list(vision.PRESETS_IN_WORDS) == list(vision.PRESETS)
    assert list(strokes.PRESETS_IN_WORDS) == list(strokes.PRESETS)
    assert list(study.STUDIES_IN_WORDS) == list(study.STUDIES)
    monkeypatch.setenv("COLUMNS", "2000")
    assert cli.main(["text", "train", "--help"]) == 0
    assert "demo: the plays, small and for minutes on two cores: 240 steps at a high learning rate; " in (
        capsys.readouterr().out
    )


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
        by_hand = [] if named.archive else [file.names[0] for file in named.files if not file.origin]
        assert all(file in out for file in by_hand)
    assert command != "doctor" or str(torch.__version__) in out
