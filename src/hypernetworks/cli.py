"""The command line: `hypernetworks text train`, `hypernetworks data list`, …

A user error prints one line and exits with code 2. A fault of the environment prints one line and exits with code 1. Neither
prints a traceback.
"""

import atexit
import contextlib
import errno
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

import tyro
from tyro.conf import Positional

from hypernetworks import completion
from hypernetworks.errors import FaultError, Terminated, UsageError
from hypernetworks.help_texts import prepare
from hypernetworks.recurrent.backend import backend
from hypernetworks_command import COMMANDS, group, listing

_FOLDERS = ("--out", "--data-dir")
"""Flags whose empty value would be taken for the current folder: a variable of a script that was not set."""

INTERRUPTED, TERMINATED = 130, 143
"""The exit codes after Ctrl-C and SIGTERM, as in shells: 128 plus the number of the signal."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name (default: those of the process) and return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # replace letters that the terminal cannot show
        sys.stdout.reconfigure(errors="replace")
    resume = ""
    try:
        with contextlib.suppress(SystemExit):  # after --help
            command, rest = _find_command(given)
            _prepare_environment()
            if "resume" in getattr(_command_type(command), "__dataclass_fields__", ()):
                resume = "; continue with --resume"
            _parse(command, rest)()
        sys.stdout.flush()
    except UsageError as error:
        return _complain(str(error), 2)
    except FaultError as error:
        return _complain(str(error), 1)
    except Terminated:
        return _complain(f"terminated{resume}", TERMINATED)
    except KeyboardInterrupt:
        return _complain(f"interrupted{resume}", INTERRUPTED)
    except BrokenPipeError:  # the reader of the output, for example `head`, has exited
        _drop_output()
        return 1
    except OSError as error:
        _drop_output()
        closed = error.errno == errno.EBADF  # hypernetworks_command connects a closed stream to one that refuses
        return _complain(
            "standard output is closed, so what was printed is lost" if closed else f"system error: {error}", 1
        )
    return 0


def _prepare_environment() -> None:
    """Check the variables. Where there is no home folder, give matplotlib one for its settings: before 3.11 it requires one."""
    try:
        backend()
    except ValueError as error:
        raise UsageError(str(error)) from error
    try:
        Path.home()
    except RuntimeError:
        if "MPLCONFIGDIR" not in os.environ:
            os.environ["MPLCONFIGDIR"] = made = mkdtemp()
            atexit.register(rmtree, made, ignore_errors=True)


def _drop_output() -> None:
    """Discard what could not be written to standard output; Python would try to write it again when it exits."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(line: str, code: int) -> int:
    rank = int(os.environ.get("RANK", 0))  # torchrun sets both
    process = f"process {rank} of {os.environ.get('WORLD_SIZE', 1)}: " if rank else ""
    print(f"hypernetworks: {process}{' '.join(line.split())}", file=sys.stderr)
    return code


def _find_command(given: Sequence[str]) -> tuple[str, list[str]]:
    """The command that the first words name, and the arguments after it. Without a command, print a list and exit."""
    for words in (1, 2):
        if (command := " ".join(given[:words])) in COMMANDS:
            return command, list(given[words:])
    if given[:1] == ["--version"]:
        print(f"hypernetworks {version('hypernetworks')}")
        raise SystemExit(0)
    if given[:1] == [completion.FLAG]:
        if given[1:] not in [[shell] for shell in completion.SHELLS]:
            raise UsageError(
                f"{completion.FLAG} should be followed by {' or '.join(completion.SHELLS)}, got {given[1:]}"
            )
        kinds = {command: _command_type(command) for command in COMMANDS}
        for kind in kinds.values():
            _prepare_help(kind)
        completion.print_completion(kinds, given[1])
        raise SystemExit(0)
    if text := listing(given):
        print(text)
        raise SystemExit(0)
    below = group(given[0])
    asked = " ".join(given[:2] if below else given[:1])
    near = get_close_matches(asked, below or COMMANDS, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(f"no command {asked!r}: {hint}expected {', '.join(below or COMMANDS)}")


def _command_type(command: str) -> type:
    module, name = COMMANDS[command]
    return getattr(import_module(module), name)


def _parse(command: str, rest: Sequence[str]) -> Callable[[], None]:
    """Parse the arguments of a command with tyro, reducing its boxed error to one line.

    A command class with `defaults` provides the values that the flags change: those of a preset, or of a run.
    """
    before_empty = [before for before, given in pairwise(["", *rest]) if given == ""]
    nameless = [flag for flag in _FOLDERS if flag in before_empty or f"{flag}=" in rest]
    nameless += ["an argument" for before in before_empty if not before.startswith("--")]
    if nameless:
        raise UsageError(f"{nameless[0]} should name a file or folder, got an empty text")
    kind = _command_type(command)
    if {"-h", "--help"} & set(rest):
        _prepare_help(kind)
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            default = {"default": kind.defaults(rest)} if hasattr(kind, "defaults") else {}
            shared = kind.shared(rest) if hasattr(kind, "shared") else rest
            return tyro.cli(kind, prog=f"hypernetworks {command}", args=shared, **default)
    except SystemExit as end:
        if not end.code:
            raise
        raise UsageError(_one_line(errors.getvalue(), command)) from end


def _prepare_help(kind: Any) -> None:
    prepare(kind, kind.refused() if hasattr(kind, "refused") else {})


def _one_line(box: str, command: str) -> str:
    """The first message in tyro's box, or below its title and rule if the encoding of the output has no box characters."""
    lines = [line.strip("│ ") for line in box.splitlines() if line[:1] not in ("╭", "╰")]
    parts = re.split(r"\n[─-]+\n", "\n".join(lines))
    said = parts[0] if "│" in box or len(parts) == 1 else parts[1]
    return " ".join(said.split()) + f" (see hypernetworks {command} --help)"


@dataclass(frozen=True)
class DataList:
    """List the named data sets: what they are, and where they were found or how to get them."""

    data_dir: Path | None = None
    """Where to look for data sets first."""

    def __call__(self) -> None:
        """Print one entry per data set."""
        from hypernetworks.data.named_sets import list_data
        from hypernetworks.data_sets import NAMED_SETS

        for row in list_data(NAMED_SETS, self.data_dir):
            print(f"{row.name:<18}{row.size:>9}  {row.what}\n{'':<29}{row.where}")


@dataclass(frozen=True)
class DataGet:
    """Fetch a data set and verify it."""

    name: Positional[str]
    """A name from `hypernetworks data list`."""
    data_dir: Path | None = None
    """Where to look first, and where to put it; default: the user's cache."""

    def __call__(self) -> None:
        """Print the paths of its files."""
        from hypernetworks.data.named_sets import get
        from hypernetworks.data_sets import NAMED_SETS

        for path in get(self.name, NAMED_SETS, self.data_dir):
            print(path)
