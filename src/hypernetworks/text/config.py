"""The settings of a run of the text experiment."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import get_args

import torch
from torch import Tensor

from hypernetworks.errors import UsageError, check_count
from hypernetworks.processes import check_parts
from hypernetworks.text.alphabet import Unit
from hypernetworks.text.model import CharacterModelConfig
from hypernetworks.training.schedule import Schedule

__all__ = ["Symbols", "TextConfig"]


@dataclass(frozen=True)
class TextConfig:
    """The settings of a run.

    Example:
        >>> from hypernetworks.text import TextConfig
        >>> TextConfig(corpus="tiny-shakespeare", batch_size=16).length
        128

    Raises:
        UsageError: a setting is invalid, or two settings contradict each other.
    """

    corpus: str = "shakespeare"
    """A named data set (see `hypernetworks data list`), or the path of a UTF-8 text or a folder of texts. Of one's own text the
    first 90 % are for training, the next 5 % for validation and the last 5 % for testing."""
    validation_text: str = field(default="", kw_only=True)
    """The path of a text or a folder to validate on: the whole of the corpus, a path, is then for training."""
    test_text: str = field(default="", kw_only=True)
    """The path of a text or a folder to test on, with a validation_text; empty: none."""
    unit: Unit = field(default="character", kw_only=True)
    """What the model reads of one's own text and predicts: its characters, the bytes of its UTF-8, or its frequent words and,
    for all else, characters. A model of bytes can read any text. A named data set has a unit of its own. Settings that count
    characters then count bytes, or words and characters."""
    model: CharacterModelConfig = field(default_factory=CharacterModelConfig)
    schedule: Schedule = field(default_factory=Schedule)
    batch_size: int = 32
    """Streams read in parallel."""
    length: int = 128
    """Characters that each stream reads in a step. Gradients flow back through these; the state is carried to the next step."""
    reset_probability: float = 0.01
    """Probability that a stream starts a step from the zero state instead of the carried one. Evaluation and prompts start
    from the zero state, and a model that never sees it during training may not work from it."""
    random_offsets: bool = False
    """Turn the text by a random number of characters before each pass, so that every pass is cut into steps at other places.
    The streams start each pass from the zero state."""
    validation_characters: int = 0
    """Validate on the first N characters of the split, of which the N - 1 after the first are predicted; 0: on all of it."""
    device: str = "auto"
    """Where to train: cpu, cuda, …; auto uses cuda if available."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "length"):
            check_count(name, getattr(self, name))
        check_parts(self.batch_size, self.schedule.accumulate)
        if self.unit not in get_args(Unit):
            raise UsageError(f"unit should be one of {', '.join(get_args(Unit))}, got {self.unit!r}")
        if self.test_text and not self.validation_text:
            raise UsageError(
                f"test_text requires a validation_text: the corpus is not split, got {self.test_text!r} alone"
            )
        if not 0 <= self.reset_probability <= 1:
            raise UsageError(f"reset_probability should be in [0, 1], got {self.reset_probability}")
        if self.validation_characters < 0 or self.validation_characters == 1:
            raise UsageError(f"validation_characters should be 0 (all) or at least 2, got {self.validation_characters}")


@dataclass(frozen=True)
class Symbols:
    """What a model needs to know of its corpus."""

    alphabet: tuple[str, ...]
    unit: Unit

    @cached_property
    def _lengths(self) -> Tensor:
        """The number of characters of each symbol."""
        return torch.tensor([len(symbol) for symbol in self.alphabet])

    def count_characters(self, ids: Tensor) -> int:
        """The number of characters that symbol ids of any shape on the CPU stand for; of bytes, the number of bytes."""
        return int(self._lengths[ids.long()].sum()) if self.unit == "word" else ids.numel()
