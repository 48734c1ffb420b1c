"""Ctrl-C that waits for the end of a step, so that what is saved is whole."""

import os
import signal
import threading
from types import FrameType, TracebackType


class Interrupt:
    """While this context is open, the first Ctrl-C only sets `asked`; a second one interrupts at once, as ever.

    Outside the main thread, where no signal arrives, it does nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._main = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> "Interrupt":
        if self._main:
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        # Not print: a signal may arrive in the middle of one.
        os.write(2, b"\nstopping after this step, and saving; Ctrl-C again stops at once\n")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._main:
            signal.signal(signal.SIGINT, self._before)
