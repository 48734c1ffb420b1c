"""Everything a run of a character model is told: what to read, what to train, how; and what its `config.json` says."""

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from hypernetworks.errors import UsageError, check_count
from hypernetworks.experiments.config import from_json
from hypernetworks.processes import check_parts
from hypernetworks.text.alphabet import Unit
from hypernetworks.text.corpus import Corpus
from hypernetworks.text.data_sets import NAMED_SETS
from hypernetworks.text.model import ModelConfig
from hypernetworks.training.schedule import Schedule

EXPERIMENT = "text"


@dataclass(frozen=True)
class TextConfig:
    """The settings of a run. Contradictory or impossible settings fail when made, with a UsageError."""

    corpus: str = "shakespeare"
    """A named data set (see `hypernetworks data list`), or the path of a UTF-8 text or a folder of texts."""
    model: ModelConfig = field(default_factory=ModelConfig)
    schedule: Schedule = field(default_factory=Schedule)
    batch_size: int = 32
    """Streams that are read side by side."""
    length: int = 128
    """Characters that each stream reads a step; gradients flow back through as many, the state is carried on."""
    reset_probability: float = 0.01
    """Probability that a stream begins a step from the zero state in place of the carried one, as a new text would. A model
    that never meets the zero state again need not work from it, and every evaluation and every prompt begins there."""
    validation_characters: int = 0
    """Score the validations while training on the split's first so many characters; 0: on all of it."""
    device: str = "auto"
    """Where to train: cpu, cuda, …; auto takes cuda where there is one."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "length"):
            check_count(name, getattr(self, name))
        check_parts(self.batch_size, self.schedule.accumulate)
        if not 0 <= self.reset_probability <= 1:
            raise UsageError(f"reset_probability should lie in [0, 1], got {self.reset_probability}")
        if self.validation_characters < 0 or self.validation_characters == 1:
            raise UsageError(f"validation_characters should be 0 (all) or at least 2, got {self.validation_characters}")


def settled(config: TextConfig, corpus: Corpus) -> TextConfig:
    """The config with the whole path of a user's own text, so that its run can be used from any folder."""
    return config if config.corpus in NAMED_SETS else replace(config, corpus=corpus.source)


@dataclass(frozen=True)
class Symbols:
    """What a model needs to know of its corpus to be used without it."""

    alphabet: tuple[str, ...]
    unit: Unit


def run_config(config: TextConfig, corpus: Corpus) -> dict[str, Any]:
    """What `config.json` is to hold: the settings, and the corpus that they met."""
    return {
        "experiment": EXPERIMENT,
        "settings": asdict(config),
        "corpus": {
            "source": corpus.source,
            "sha256": corpus.sha256,
            "sizes": corpus.sizes,
            "unit": corpus.unit,
            "alphabet": list(corpus.alphabet),
        },
    }


def read_run_config(config: Mapping[str, Any], place: str) -> tuple[TextConfig, Symbols, str]:
    """The settings, symbols and the corpus's sha256 from a run's `config.json`; a UsageError names what is foreign in it."""
    if config.get("experiment") != EXPERIMENT:
        raise UsageError(
            f"{place}: not a run of hypernetworks text (its config.json says {config.get('experiment')!r})"
        )
    match config:
        case {
            "settings": {"model": dict(), "schedule": dict()} as settings,
            "corpus": {"sha256": str(sha256), "unit": ("character" | "byte") as unit, "alphabet": list(alphabet)},
        } if _is_alphabet(alphabet, unit):
            made = from_json(TextConfig, settings, place)
            return made, Symbols(tuple(alphabet), unit), sha256
    raise UsageError(f"{place}: config.json lacks settings or corpus as this version writes them")


def _is_alphabet(symbols: list[Any], unit: Unit) -> bool:
    last = "\xff" if unit == "byte" else chr(sys.maxunicode)
    return bool(symbols) and all(isinstance(symbol, str) and len(symbol) == 1 and symbol <= last for symbol in symbols)
