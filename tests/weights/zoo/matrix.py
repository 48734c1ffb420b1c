"""All architectures, and which cases of the matrix run."""

from itertools import product
from typing import NamedTuple

from .architecture import Architecture
from .comparison import GENERATORS
from .language_and_sound import ARCHITECTURES as TRANSFORMERS
from .torch_and_vision import ARCHITECTURES as VISION

ARCHITECTURES: list[Architecture] = [*VISION, *TRANSFORMERS]


class Case(NamedTuple):
    """One comparison."""

    architecture: Architecture
    generator: str
    train: bool
    per_sample: bool
    masked: bool

    def __str__(self) -> str:
        words = [self.architecture.name, self.generator, "train" if self.train else "eval"]
        words += ["per sample"] * self.per_sample + ["mask"] * self.masked
        return ", ".join(words)


def every_case() -> list[Case]:
    """The full product."""
    return [
        Case(architecture, generator, train, per_sample, masked)
        for architecture, generator, train, per_sample in product(
            ARCHITECTURES, GENERATORS, (True, False), (True, False)
        )
        for masked in ((False, True) if architecture.mask else (False,))
    ]


def covering_cases() -> list[Case]:
    """Every architecture in both modes, with one set of weights and with one per sample, the generators taking turns.

    So every generator occurs in every mode. An architecture with a mask has one either in training or in evaluation.
    """
    names, cases = list(GENERATORS), []
    for k, architecture in enumerate(ARCHITECTURES):
        for j, (train, per_sample) in enumerate(product((True, False), (True, False))):
            masked = bool(architecture.mask) and (k + train) % 2 == 0
            cases.append(Case(architecture, names[(k + 2 * j) % len(names)], train, per_sample, masked))
    return cases
