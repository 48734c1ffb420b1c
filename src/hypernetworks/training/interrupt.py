"""Ctrl-C and SIGTERM that wait for the end of a step, so that what is saved is whole."""

import os
import signal
import threading
from types import FrameType, TracebackType

from hypernetworks.processes import is_first


class Terminated(KeyboardInterrupt):
    """SIGTERM asked the process to end, as a scheduler does before its SIGKILL."""


_KINDS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}


class Interrupt:
    """While this context is open, the first Ctrl-C or SIGTERM only sets `asked`; a second one interrupts at once.

    Outside the main thread, where no signal arrives, it does nothing.
    """

    def __init__(self) -> None:
        self.asked: type[KeyboardInterrupt] | None = None
        """What to raise when the step has ended; None: nobody asked."""
        self._main = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> "Interrupt":
        if self._main:
            self._before = {number: signal.signal(number, self._ask) for number in _KINDS}
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        kind = _KINDS[signal.Signals(number)]
        if self.asked:
            raise kind
        self.asked = kind
        # Not print: a signal may arrive in the middle of one.
        if is_first():
            os.write(2, b"\nstopping after this step, and saving; Ctrl-C again stops at once\n")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._main:
            for number, handler in self._before.items():
                signal.signal(number, handler)
