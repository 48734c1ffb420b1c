"""Text with, for each letter, how much the generated weights changed when the model read it.

    change^y = sqrt(Σ_l ‖W_t^{l,y} − W_{t−1}^{l,y}‖_F²)           of gate y, over the layers l: analysis/scales.py

Figure 4 of Ha, Dai and Le, "HyperNetworks", arXiv 1609.09106, colours generated text this way.
"""

import codecs
from typing import NamedTuple, cast

import torch
from torch import Tensor

from hypernetworks.analysis import trace
from hypernetworks.errors import UsageError
from hypernetworks.recurrent.hyper import HyperRecurrentNetwork
from hypernetworks.text.config import Symbols
from hypernetworks.text.generate import Sampling, generate_ids, prompt_ids
from hypernetworks.text.model import CharacterModel

CHUNK = 256
"""Steps traced at a time. Of the many numbers of a trace, only one per gate is kept."""

LONGEST_TEXT = 10_000
"""The most symbols that a page shows letter by letter."""

_GATES = {
    "i": "input gate",
    "f": "forget gate",
    "g": "candidate",
    "o": "output gate",
    "r": "reset gate",
    "u": "update gate",
    "n": "candidate",
    "h": "candidate",
    "t": "transform gate",
}


class Letter(NamedTuple):
    """A character, and the change of each gate when it was read; no changes for a model with fixed weights."""

    text: str
    changes: tuple[float, ...]


def gates_of(model: CharacterModel) -> list[str]:
    """Descriptions of the gates, for example "input gate i"; none for a model with fixed weights."""
    network = model.network
    if not isinstance(network, HyperRecurrentNetwork):
        return []
    return [_described(name) for name in network.cell(0).main.gate_names]


def _described(name: str) -> str:
    depth = f" of depth {name[1:]}" if name[1:] else ""
    return f"{_GATES[name[0]]}{depth} {name}"


def weight_changes(model: CharacterModel, ids: Tensor) -> Tensor:
    """The change of each gate at each symbol of a text (length,), read from the zero state: (length, gates)."""
    network = model.network
    if not isinstance(network, HyperRecurrentNetwork):
        return torch.zeros(len(ids), 0)
    state, changes = None, []
    with torch.inference_mode():
        for part in ids.long().to(model.head.weight.device).split(CHUNK):
            traced = trace(network, model.embedding(part.unsqueeze(1)), state)
            state = traced.state
            layers = torch.stack([cast(Tensor, layer.change)[:, 0] for layer in traced.layers])
            changes.append(torch.linalg.vector_norm(layers, dim=0))
    return torch.cat(changes).cpu()


def coloured_sample(model: CharacterModel, symbols: Symbols, sampling: Sampling) -> list[Letter]:
    """Generate a text that starts at the beginning of a line."""
    start = prompt_ids("", symbols.alphabet, symbols.unit)
    ids = torch.cat([start.long(), torch.tensor(list(generate_ids(model, start, sampling)))])
    return _letters(ids[len(start) :], weight_changes(model, ids)[len(start) :], symbols)


def coloured_text(model: CharacterModel, symbols: Symbols, ids: Tensor) -> list[Letter]:
    """Colour a given text, read from the zero state.

    Raises:
        UsageError: the text is empty, or longer than `LONGEST_TEXT` symbols.
    """
    if not 1 <= len(ids) <= LONGEST_TEXT:
        raise UsageError(f"text should have 1 to {LONGEST_TEXT:,} {symbols.unit}s to be coloured, got {len(ids):,}")
    return _letters(ids, weight_changes(model, ids), symbols)


def _letters(ids: Tensor, changes: Tensor, symbols: Symbols) -> list[Letter]:
    """Characters with their changes. A character of several bytes has the largest change of its bytes."""
    texts = [symbols.alphabet[i] for i in ids.tolist()]
    if symbols.unit == "character":
        return [Letter(text, tuple(change)) for text, change in zip(texts, changes.tolist(), strict=True)]
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    letters: list[Letter] = []
    first = 0
    for t, text in enumerate(texts):
        if decoded := decoder.decode(text.encode("latin-1"), final=t == len(texts) - 1):
            letters.append(Letter(decoded, tuple(changes[first : t + 1].amax(0).tolist())))
            first = t + 1
    return letters
