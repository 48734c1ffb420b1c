"""The entry point of the command `hypernetworks`.

Importing the package takes seconds, most of them in torch. Ctrl-C and SIGTERM during that time end the command with one
line, as they do later, and the list of commands is printed without that import. Only a module outside the package can do this.
"""

import ast
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

COMMANDS: dict[str, tuple[str, str]] = {
    "text train": ("hypernetworks.text.commands", "Train"),
    "text compare": ("hypernetworks.text.commands", "Compare"),
    "text study": ("hypernetworks.text.study_command", "Study"),
    "text evaluate": ("hypernetworks.text.commands", "Evaluate"),
    "text generate": ("hypernetworks.text.commands", "Generate"),
    "text report": ("hypernetworks.text.commands", "Report"),
    "text strips": ("hypernetworks.text.strips_command", "Strips"),
    "text export": ("hypernetworks.text.export_command", "Export"),
    "text serve": ("hypernetworks.serve.command", "Serve"),
    "vision train": ("hypernetworks.vision.commands", "Train"),
    "vision compare": ("hypernetworks.vision.commands", "Compare"),
    "vision evaluate": ("hypernetworks.vision.commands", "Evaluate"),
    "strokes train": ("hypernetworks.strokes.commands", "Train"),
    "strokes compare": ("hypernetworks.strokes.commands", "Compare"),
    "strokes evaluate": ("hypernetworks.strokes.commands", "Evaluate"),
    "strokes draw": ("hypernetworks.strokes.commands", "Draw"),
    "strokes report": ("hypernetworks.strokes.commands", "Report"),
    "strokes serve": ("hypernetworks.serve.strokes_command", "Serve"),
    "bench": ("hypernetworks.bench.command", "Bench"),
    "data list": ("hypernetworks.cli", "DataList"),
    "data get": ("hypernetworks.cli", "DataGet"),
    "doctor": ("hypernetworks.doctor", "Doctor"),
}
"""The module and class of each command. The module is imported when the command is used."""


def listing(given: Sequence[str]) -> str:
    """The list of commands, or of those of a group such as `text`, for arguments that ask for it; empty if they do not."""
    if not given or given[0] in ("-h", "--help", "help"):
        return overview(COMMANDS)
    below = group(given[0])
    return overview(below) if below and (len(given) == 1 or given[1] in ("-h", "--help")) else ""


def group(first: str) -> list[str]:
    """The commands of two words that start with this one."""
    return [command for command in COMMANDS if command.startswith(first + " ")]


def overview(commands: Iterable[str]) -> str:
    """The usage, and each command with the first line of its docstring, which is read from the source without importing it."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  hypernetworks {name:<{width}}{_first_line(*COMMANDS[name])}" for name in commands]
    return "\n".join(["usage: hypernetworks COMMAND [--help] [OPTIONS]", "", *lines])


def _first_line(module: str, name: str) -> str:
    source = Path(__file__).parent.joinpath(*module.split(".")).with_suffix(".py")
    made = ast.parse(source.read_text(encoding="utf-8")).body
    (kind,) = (node for node in made if isinstance(node, ast.ClassDef) and node.name == name)
    return (ast.get_docstring(kind) or "").partition("\n")[0]


class _Terminated(KeyboardInterrupt):
    """SIGTERM arrived."""


def main() -> int:
    """Import the command line, run it, and return the exit code. A list of commands needs no import."""
    _open_streams()
    if (text := listing(sys.argv[1:])) and _printed(text):
        return 0
    try:
        before = signal.signal(signal.SIGTERM, _terminate)
        from hypernetworks.cli import main as run

        signal.signal(signal.SIGTERM, before)
    except _Terminated:
        return _end("terminated", 143)
    except KeyboardInterrupt:
        return _end("interrupted", 130)
    return run()


def _printed(text: str) -> bool:
    """Whether the text could be written to standard output, past Python's buffer. Where not, the command line says why."""
    left = f"{text}\n".encode(sys.stdout.encoding, errors="replace")
    try:
        while left:
            left = left[os.write(1, left) :]
    except OSError:
        return False
    return True


def _open_streams() -> None:
    """Connect standard streams that the shell closed (`>&-`) to nothing. Else a run's file would get the number of one.

    Standard output gets one that cannot be written to, so that a command whose output is lost fails.
    """
    streams = (("stdin", "r", os.O_RDWR), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_RDWR))
    for name, mode, access in streams:
        if getattr(sys, name) is None:
            # the lowest number that is free: that of the stream, unless a library holds a file of its own under it
            number = os.open(os.devnull, access)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115  open as long as the process


def _terminate(number: int, frame: object) -> None:
    raise _Terminated


def _end(how: str, code: int) -> int:
    print(f"hypernetworks: {how} while starting", file=sys.stderr)
    return code
