"""Start of the command `hypernetworks`.

Importing torch takes a second or more. This module catches Ctrl-C during that time, which no module inside the package can: the
package itself imports torch.
"""

import signal
import sys


def main() -> int:
    """Import the command line and run it; return the exit code."""
    try:
        signal.signal(signal.SIGTERM, _terminate)
        from hypernetworks.cli import main as run
    except KeyboardInterrupt:
        return _stopped("interrupted", 130)
    except SystemExit:
        return _stopped("terminated", 143)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return run()


def _terminate(number: int, frame: object) -> None:
    raise SystemExit


def _stopped(how: str, code: int) -> int:
    print(f"hypernetworks: {how}", file=sys.stderr)
    return code
