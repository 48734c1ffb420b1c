"""The way of one text from the thread that makes it to the one that sends it."""

from collections.abc import Callable
from threading import Lock
from typing import Literal, NamedTuple

Reason = Literal["length", "time-out", "shutdown", "failed"]
"""Why a text ended: all characters are there, its time was over, the server stops, or the model could not run."""


class Piece(NamedTuple):
    """A character, or several where those before were bytes of none."""

    text: str
    change: list[float] | None
    """How much the weights of each gate changed in the step that made it; None where that is not known."""


class Stream:
    """Pieces put in by one thread and taken out by another.

    Args:
        wake: told, in the thread that puts, when there is something to take where there was nothing.
    """

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._lock = Lock()
        self._pieces: list[Piece] = []
        self._reason: Reason | None = None
        self.cancelled = False
        """Nobody will take anything any more; set by the reader."""

    def put(self, piece: Piece) -> None:
        """Add to what is to be taken."""
        with self._lock:
            self._pieces.append(piece)
            first = len(self._pieces) == 1
        if first:
            self._wake()

    def end(self, reason: Reason) -> None:
        """Nothing more will come."""
        with self._lock:
            self._reason = reason
        self._wake()

    def take(self) -> tuple[list[Piece], Reason | None]:
        """All that is there, and, once nothing more will come, why."""
        with self._lock:
            taken, self._pieces = self._pieces, []
            return taken, self._reason
