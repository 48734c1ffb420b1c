"""What can be said of the step that generated a character besides its changes: probabilities, gates and scales.

    p = softmax(logits)                          the next character's, before temperature, top_k and top_p
    mean^y = 1/H Σ_j y_t[j]                      of each gate y of the last layer
    d_h                                          that scales the rows of W_h of the last layer

B texts or steps, L layers, G gates, H hidden, V symbols.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hypernetworks.analysis import scales_of
from hypernetworks.analysis.gates import gates_at
from hypernetworks.recurrent.hyper import HyperRecurrentCell
from hypernetworks.text.config import Symbols
from hypernetworks.text.model import CharacterModel

LIKELY = 8
"""How many of the most probable symbols are given."""


class Inside(NamedTuple):
    """What happened in one step of the last layer."""

    gates: tuple[float, ...] = ()
    """The mean of each gate over its H units; empty if the model's weights are fixed."""
    scales: Tensor | None = None
    """d_h, (G, H), float16. None if the model's weights are fixed, or if whole matrices are generated."""


class Details(NamedTuple):
    """The details of the step that generated a character."""

    likely: tuple[tuple[str, float], ...]
    """The most probable symbols with their probabilities, the most probable first."""
    probability: float
    """That of the symbol that was generated."""
    inside: Inside


def details_of(inside: Inside, logits: Tensor, generated: int, symbols: Symbols) -> Details:
    """The details of a step that gave the logits (V,), from which a symbol was drawn."""
    # p = softmax(logits)
    p = torch.softmax(logits.double(), dim=0)
    largest, ids = p.topk(min(LIKELY, len(p)))
    likely = tuple((_written(symbols, id), each) for id, each in zip(ids.tolist(), largest.tolist(), strict=True))
    return Details(likely, float(p[generated]), inside)


def _written(symbols: Symbols, id: int) -> str:
    """A symbol as text. A byte that is no character alone is written as in Python, for example \\xc3."""
    symbol = symbols.alphabet[id]
    return f"\\x{ord(symbol):02x}" if symbols.unit == "byte" and ord(symbol) > 127 else symbol


class Insides:
    """Looks into steps of a model. The weights are read once, so they should not change afterwards."""

    def __init__(self, model: CharacterModel) -> None:
        self._model = model
        cell = model.network.cells[-1]
        self._cell = cell if isinstance(cell, HyperRecurrentCell) else None
        if self._cell is not None:
            with torch.no_grad():
                self._weights = self._cell.weights()

    @torch.no_grad()
    def __call__(self, ids: Tensor, before: Sequence[Tensor], after: Sequence[Tensor]) -> list[Inside]:
        """What happened in each of B steps, from the ids (B,) that they read and the states, each tensor (L, B, ·)."""
        if self._cell is None:
            return [Inside()] * len(ids)
        # what the last layer reads is the h of the layer below it
        x = after[0][-2] if len(after[0]) > 1 else self._model.embedding(ids)
        scales = scales_of(self._cell, after[-2][-1])
        gates = gates_at(self._cell, x, before[0][-1], scales.z, self._weights)
        means = gates.mean(-1).T.tolist()
        d_h = [None] * len(ids) if scales.d_h is None else scales.d_h.movedim(0, 1).half().cpu().unbind()
        return [Inside(tuple(mean), d) for mean, d in zip(means, d_h, strict=True)]
