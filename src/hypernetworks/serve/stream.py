"""A stream passes one text from the thread that generates it to the thread that sends it."""

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Literal, NamedTuple

from hypernetworks.text.coloured import Letter

Reason = Literal["length", "time-out", "shutdown", "failed"]
"""Why a text ended: it is complete, its time was over, the server is shutting down, or the model failed."""


class Taken(NamedTuple):
    """What a reader takes from a stream at a time."""

    prompt: Sequence[Letter] | None
    """The prompt as the model read it, once, when the text has left the queue; empty if no prompt was given."""
    letters: Sequence[Letter]
    """New characters, each with its changes."""
    reason: Reason | None
    """Why the text ended, once it has."""


class Stream:
    """Letters put in by one thread and taken out by another.

    Args:
        wake: called in the writing thread when the stream becomes non-empty or ends.
    """

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._lock = Lock()
        self._prompt: Sequence[Letter] | None = None
        self._letters: list[Letter] = []
        self._reason: Reason | None = None
        self.cancelled = False
        """Set by the reader when it will take nothing more."""

    def start(self, prompt: Sequence[Letter]) -> None:
        """Say that the model reads the prompt now."""
        with self._lock:
            self._prompt = prompt
        self._wake()

    def put(self, letter: Letter) -> None:
        """Add a letter."""
        with self._lock:
            self._letters.append(letter)
            first = len(self._letters) == 1
        if first:
            self._wake()

    def end(self, reason: Reason) -> None:
        """End the stream."""
        with self._lock:
            self._reason = reason
        self._wake()

    def take(self) -> Taken:
        """Take everything that is there."""
        with self._lock:
            taken = Taken(self._prompt, self._letters, self._reason)
            self._prompt, self._letters = None, []
            return taken
