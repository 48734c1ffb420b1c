"""Text whose letters carry how much the generated weights changed when the model read them.

    change^y = sqrt(Σ_l ‖W_t^{l,y} − W_{t−1}^{l,y}‖_F²)           of gate y, over the layers l: analysis/scales.py

HyperNetworks, arXiv 1609.09106, figure 4, colours generated text so.
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
"""Steps that are traced at a time: of a trace's many numbers a step, one is kept for each gate."""

LONGEST_TEXT = 10_000
"""The most symbols of a text that a page shows letter by letter."""

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
    """A character as it is shown, and the change of each gate when it was read; empty where nothing changes."""

    text: str
    changes: tuple[float, ...]


def gates_of(model: CharacterModel) -> list[str]:
    """What the changes are of, e.g. "input gate i"; none where the model's weights stay as they are."""
    network = model.network
    if not isinstance(network, HyperRecurrentNetwork):
        return []
    return [_described(name) for name in network.cell(0).main.gate_names]


def _described(name: str) -> str:
    depth = f" of depth {name[1:]}" if name[1:] else ""
    return f"{_GATES[name[0]]}{depth} {name}"


def weight_changes(model: CharacterModel, ids: Tensor) -> Tensor:
    """The change of each gate, (length, gates), at each symbol of a text, (length,), read from the zero state."""
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
    """A text of the model that begins at a line's start."""
    start = prompt_ids("", symbols.alphabet, symbols.unit)
    ids = torch.cat([start.long(), torch.tensor(list(generate_ids(model, start, sampling)))])
    return _letters(ids[len(start) :], weight_changes(model, ids)[len(start) :], symbols)


def coloured_text(model: CharacterModel, symbols: Symbols, ids: Tensor) -> list[Letter]:
    """A text that is given, as the model reads it from the zero state.

    Raises:
        UsageError: it is empty, or longer than `LONGEST_TEXT` symbols.
    """
    if not 1 <= len(ids) <= LONGEST_TEXT:
        raise UsageError(f"text should have 1 to {LONGEST_TEXT:,} {symbols.unit}s to be coloured, got {len(ids):,}")
    return _letters(ids, weight_changes(model, ids), symbols)


def _letters(ids: Tensor, changes: Tensor, symbols: Symbols) -> list[Letter]:
    """Each character with its change; a character of several bytes has the largest change of its bytes."""
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
