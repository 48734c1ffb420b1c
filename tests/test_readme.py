"""What the README prints can be run: its Python, and its commands as far as their words and flags go."""

import re
import shlex
from pathlib import Path

import pytest

from hypernetworks import cli
from hypernetworks.text import TextConfig

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^hypernetworks .+$", README, re.MULTILINE)


def test_the_python_runs_in_the_order_it_stands():
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 2
    names: dict = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["output"].shape == (100, 32, 256)


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_is_one_that_there_is(line, monkeypatch):
    class Parsed(Exception):  # noqa: N818  (no error: it tells that the command was understood)
        pass

    def called(self):
        raise Parsed

    command, rest = cli._find_command(shlex.split(line)[1:])
    monkeypatch.setattr(cli._command_type(command), "__call__", called)
    monkeypatch.setattr("hypernetworks.text.commands._settings_of", lambda folder: TextConfig())
    with pytest.raises(Parsed):
        cli._parse(command, rest)()


def test_every_command_of_the_readme_was_found():
    assert len(COMMANDS) >= 8
