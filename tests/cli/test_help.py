"""Help, version and lists."""

import re
from importlib.metadata import version

import pytest
import torch

from hypernetworks import cli
from hypernetworks.data_sets import NAMED_SETS as ALL_SETS

from .toy import Capture


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_of_every_command_tells_its_flags(command: str, capsys: Capture) -> None:
    assert cli.main([*command.split(), "--help"]) == 0
    out = capsys.readouterr().out
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
