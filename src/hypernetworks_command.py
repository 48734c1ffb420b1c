"""The entry point of the command `hypernetworks`.

Importing the package takes seconds, most of them in torch. Ctrl-C and SIGTERM during that time end the command with one
line, as they do later. Only a module outside the package can do this.
"""

import os
import signal
import sys


class _Terminated(KeyboardInterrupt):
    """SIGTERM arrived."""


def main() -> int:
    """Import the command line, run it, and return the exit code."""
    _open_streams()
    try:
        before = signal.signal(signal.SIGTERM, _terminate)
        from hypernetworks.cli import main as run

        signal.signal(signal.SIGTERM, before)
    except _Terminated:
        return _end("terminated", 143)
    except KeyboardInterrupt:
        return _end("interrupted", 130)
    return run()


def _open_streams() -> None:
    """Connect standard streams that the shell closed (`>&-`) to nothing. Else a run's file would get the number of one.

    Standard output gets one that cannot be written to, so that a command whose output is lost fails.
    """
    streams = ((0, "stdin", "r", os.O_RDWR), (1, "stdout", "w", os.O_RDONLY), (2, "stderr", "w", os.O_RDWR))
    for number, name, mode, access in streams:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, access)  # gets the lowest number that is free: this one
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115  open as long as the process


def _terminate(number: int, frame: object) -> None:
    raise _Terminated


def _end(how: str, code: int) -> int:
    print(f"hypernetworks: {how} while starting", file=sys.stderr)
    return code
