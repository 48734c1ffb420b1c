"""A stream passes one text from the thread that generates it to the thread that sends it."""

from collections.abc import Callable
from threading import Lock
from typing import Literal, NamedTuple

Reason = Literal["length", "time-out", "shutdown", "failed"]
"""Why a text ended: it is complete, its time was over, the server is shutting down, or the model failed."""


class Piece(NamedTuple):
    """A character, or several if the bytes before did not form one."""

    text: str
    change: list[float] | None
    """How much the weights of each gate changed in the step that generated it; None if unknown."""


class Stream:
    """Pieces put in by one thread and taken out by another.

    Args:
        wake: called in the writing thread when the stream becomes non-empty or ends.
    """

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._lock = Lock()
        self._pieces: list[Piece] = []
        self._reason: Reason | None = None
        self.cancelled = False
        """Set by the reader when it will take nothing more."""

    def put(self, piece: Piece) -> None:
        """Add a piece."""
        with self._lock:
            self._pieces.append(piece)
            first = len(self._pieces) == 1
        if first:
            self._wake()

    def end(self, reason: Reason) -> None:
        """End the stream."""
        with self._lock:
            self._reason = reason
        self._wake()

    def take(self) -> tuple[list[Piece], Reason | None]:
        """Take all pieces, and the reason once the stream has ended."""
        with self._lock:
            taken, self._pieces = self._pieces, []
            return taken, self._reason
