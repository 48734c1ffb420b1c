"""The scripts that complete commands and flags in a shell."""

import shutil
import subprocess
from pathlib import Path

import pytest

from hypernetworks import cli

from .toy import Capture, error_line

COMPLETE = """
source "$1"
complete() {
  COMP_WORDS=("$@")
  COMP_CWORD=$(($# - 1))
  COMPREPLY=()
  $function
  echo "${COMPREPLY[@]}"
}
function=$(builtin complete -p hypernetworks | sed 's/.*-F \\([^ ]*\\).*/\\1/')
complete hypernetworks ben
complete hypernetworks text strip
complete hypernetworks bench --repe
complete hypernetworks bench --sizes pt
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_the_script_for_bash_completes_commands_flags_and_choices(tmp_path: Path, capsys: Capture) -> None:
    assert cli.main(["--tyro-print-completion", "bash"]) == 0
    script = tmp_path / "hypernetworks"
    script.write_text(capsys.readouterr().out, encoding="utf-8")
    assert "'--prompt-file'" in script.read_text(encoding="utf-8")
    assert subprocess.run(["bash", "-n", str(script)], timeout=60, check=False).returncode == 0
    done = subprocess.run(
        ["bash", "-c", COMPLETE, "bash", str(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split("\n") == ["bench", "strips", "--repeats", "ptb", ""], done.stderr


def test_the_script_for_zsh_has_every_command(capsys: Capture) -> None:
    assert cli.main(["--tyro-print-completion", "zsh"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("#compdef hypernetworks\n")
    assert [word for command in cli.COMMANDS for word in command.split() if word not in out] == []


@pytest.mark.parametrize("given", [[], ["tcsh"], ["bash", "more"]])
def test_another_shell_is_refused(given: list[str], capsys: Capture) -> None:
    line = error_line(capsys, ["--tyro-print-completion", *given], 2)
    assert line == f"--tyro-print-completion should be followed by bash or zsh, got {given}"
