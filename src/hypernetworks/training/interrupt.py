"""Ctrl-C, SIGTERM and SIGHUP take effect after a training step, so that the run is saved first."""

import os
import signal
import threading
from types import FrameType, TracebackType

from hypernetworks.errors import Terminated
from hypernetworks.processes import is_first

_KINDS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}
if hasattr(signal, "SIGHUP"):  # the terminal was closed
    _KINDS[signal.SIGHUP] = Terminated


class Interrupt:
    """While the context is open, the first Ctrl-C, SIGTERM or SIGHUP only sets `asked`. A second one interrupts immediately.
    A signal that the process ignores, as SIGHUP under nohup, stays ignored.

    Outside the main thread, which receives no signals, it does nothing.
    """

    def __init__(self) -> None:
        self.asked: type[KeyboardInterrupt] | None = None
        """What to raise after the step; None: no signal arrived."""
        self._main = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> "Interrupt":
        if self._main:
            heeded = [number for number in _KINDS if signal.getsignal(number) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._ask) for number in heeded}
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        kind = _KINDS[signal.Signals(number)]
        if self.asked:
            raise kind
        self.asked = kind
        if number not in (signal.SIGINT, signal.SIGTERM):  # SIGHUP
            _leave_terminal()
            return
        # not print: the signal may have arrived during one
        if is_first():
            os.write(2, b"\nstopping after this step and saving; press Ctrl-C again to stop immediately\n")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._main:
            for number, handler in self._before.items():
                signal.signal(number, handler)


def _leave_terminal() -> None:
    """Discard what is printed from now on: writing to a closed terminal is an error."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        if os.isatty(stream):
            os.dup2(nothing, stream)
    os.close(nothing)
