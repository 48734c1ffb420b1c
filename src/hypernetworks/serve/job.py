"""A requested text, and its state while it is generated: its own random generator, and what is still to be drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic

from torch import Tensor

from hypernetworks.serve.stream import Stream
from hypernetworks.text.coloured import Letter, largest
from hypernetworks.text.config import Symbols
from hypernetworks.text.details import Inside, details_of
from hypernetworks.text.generate import Draws, Sampling, Spelling


@dataclass(eq=False)
class Job:
    """A requested text."""

    run: str
    """The name of the run whose model generates it."""
    prompt: str
    sampling: Sampling | None
    """None: the prompt is read, and nothing is generated."""
    stream: Stream
    details: int = 0
    """The stream has details of the prompt's steps, and of this many after it; 0: of none."""
    deadline: float = field(default=float("inf"))
    """When its time is over, on the clock of time.monotonic."""

    def should_stop(self) -> bool:
        """Whether to stop generating: it was cancelled, or its time is over. In the latter case its stream is ended."""
        if not self.stream.cancelled and monotonic() > self.deadline:
            self.stream.end("time-out")
            return True
        return self.stream.cancelled


class ActiveText:
    """A text that is being generated."""

    def __init__(self, job: Job, sampling: Sampling, symbols: Symbols) -> None:
        self.job = job
        self.drawn = 0
        """The last id that was drawn."""
        self._length = self._left = sampling.length
        self._draw = Draws(sampling)
        self._symbols = symbols
        self._spell = Spelling(symbols.alphabet, symbols.unit)
        self._changes: list[Sequence[float]] = []  # of the bytes that are no whole character yet

    def draw(self, logits: Tensor, changes: Sequence[float], inside: Inside | None = None) -> None:
        """Draw one more character from its logits (V,), which a step gave that changed the weights of each gate.

        inside: what happened in that step, if the text has details of it.
        """
        self.drawn: int = self._draw(logits)
        self._left -= 1
        self._changes.append(changes)
        text = self._spell(self.drawn) + (self._spell.end() if self.complete else "")
        if text:
            details = None if inside is None else details_of(inside, logits, self.drawn, self._symbols)
            self.job.stream.put(Letter(text, largest(self._changes), details))
            self._changes = []
        if self.complete:
            self.job.stream.end("length")

    @property
    def complete(self) -> bool:
        """Whether all characters were generated."""
        return self._left == 0

    @property
    def has_details(self) -> bool:
        """Whether the stream has details of the next step."""
        return self._length - self._left < self.job.details
