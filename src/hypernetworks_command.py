"""The entry point of the command `hypernetworks`.

Importing the package takes seconds, most of them in torch. Ctrl-C and SIGTERM during that time end the command with one
line, as they do later. Only a module outside the package can do this.
"""

import signal
import sys


class _Terminated(KeyboardInterrupt):
    """SIGTERM arrived."""


def main() -> int:
    """Import the command line, run it, and return the exit code."""
    try:
        before = signal.signal(signal.SIGTERM, _terminate)
        from hypernetworks.cli import main as run

        signal.signal(signal.SIGTERM, before)
    except _Terminated:
        return _end("terminated", 143)
    except KeyboardInterrupt:
        return _end("interrupted", 130)
    return run()


def _terminate(number: int, frame: object) -> None:
    raise _Terminated


def _end(how: str, code: int) -> int:
    print(f"hypernetworks: {how} while starting", file=sys.stderr)
    return code
