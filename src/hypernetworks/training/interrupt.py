"""Ctrl-C and SIGTERM take effect after a training step, so that the run is saved first."""

import os
import signal
import threading
from types import FrameType, TracebackType

from hypernetworks.errors import Terminated
from hypernetworks.processes import is_first

_KINDS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}


class Interrupt:
    """While the context is open, the first Ctrl-C or SIGTERM only sets `asked`. A second one interrupts immediately.

    Outside the main thread, which receives no signals, it does nothing.
    """

    def __init__(self) -> None:
        self.asked: type[KeyboardInterrupt] | None = None
        """What to raise after the step; None: no signal arrived."""
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
        # not print: the signal may have arrived during one
        if is_first():
            os.write(2, b"\nstopping after this step and saving; press Ctrl-C again to stop immediately\n")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._main:
            for number, handler in self._before.items():
                signal.signal(number, handler)
