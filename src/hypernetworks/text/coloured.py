"""Text with, for each letter, how much the step that generated it changed the weights, relative to them: analysis/relative.py.

The step that generates character t + 1 reads character t, changes the weights, and gives the probabilities from which
character t + 1 is drawn. In a given text it is the step that predicts the character. The first character of a given text
has no such step.

Figure 4 of Ha, Dai and Le, "HyperNetworks", arXiv 1609.09106, shows the changes "below each generated character".
"""

import codecs
from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from hypernetworks.analysis import RelativeChange, trace
from hypernetworks.errors import UsageError
from hypernetworks.recurrent.hyper import HyperRecurrentNetwork
from hypernetworks.text.alphabet import symbol_name
from hypernetworks.text.config import Symbols
from hypernetworks.text.details import Details
from hypernetworks.text.generate import Sampling, generate_ids, prompt_ids
from hypernetworks.text.model import CharacterModel

CHUNK = 256
"""Steps traced at a time. Of the many numbers of a trace, only the states are kept."""

FULL_COLOUR = 0.95
"""Changes from this quantile up get the full colour. If the largest change got it, most letters would be pale."""

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
    """A character, or a word of a model of words, and the change of each gate in the step that generated it."""

    text: str
    changes: tuple[float, ...]
    """Empty if no step generated it, or if the model's weights are fixed."""
    details: Details | None = None
    """More about that step, if it was asked for."""


def gates_of(model: CharacterModel) -> list[str]:
    """Descriptions of the gates, for example "input gate i"; none for a model with fixed weights."""
    network = model.network
    if not isinstance(network, HyperRecurrentNetwork):
        return []
    return [_described(name) for name in network.cell(0).main.gate_names]


def _described(name: str) -> str:
    depth = f" of depth {name[1:]}" if name[1:] else ""
    return f"{_GATES[name[0]]}{depth} {name}"


def weight_changes(model: CharacterModel, ids: Tensor, relative: RelativeChange | None = None) -> Tensor:
    """The change of each gate in the step that reads each symbol of a text (length,), from the zero state: (length, gates).

    relative: RelativeChange(model.network), for many calls while the weights do not change.
    """
    if not isinstance(model.network, HyperRecurrentNetwork):
        return torch.zeros(len(ids), 0)
    return changes_between(*states_of_text(model, ids), relative or RelativeChange(model.network))


def changes_between(before: Sequence[Tensor], after: Sequence[Tensor], relative: RelativeChange) -> Tensor:
    """The change of each gate in steps whose states before and after are given, each (L, T, ·): (T, gates)."""
    return relative(before[-2], after[-2]).T.cpu()  # a state ends with ĥ and ĉ


@torch.inference_mode()
def states_of_text(model: CharacterModel, ids: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """The states before and after each step that reads a text (length,) from the zero state, each tensor (L, T, ·).

    Raises:
        TypeError: the model generates no weights.
    """
    state, read = None, []
    for part in ids.long().to(model.head.weight.device).split(CHUNK):
        traced = trace(cast(HyperRecurrentNetwork, model.network), model.embedding(part.unsqueeze(1)), state)
        state = traced.state
        read.append(
            [torch.stack(same)[:, :, 0] for same in zip(*(layer.state for layer in traced.layers), strict=True)]
        )
    after = [torch.cat(parts, dim=1) for parts in zip(*read, strict=True)]
    before = [torch.cat([torch.zeros_like(part[:, :1]), part[:, :-1]], dim=1) for part in after]
    return before, after


def coloured_sample(model: CharacterModel, symbols: Symbols, sampling: Sampling) -> list[Letter]:
    """Generate a text that starts at the beginning of a line."""
    start = prompt_ids("", symbols.alphabet, symbols.unit)
    ids = torch.cat([start.long(), torch.tensor(list(generate_ids(model, start, sampling)))])
    return letters(ids[len(start) :], weight_changes(model, ids[:-1])[len(start) - 1 :].tolist(), symbols)


def coloured_text(model: CharacterModel, symbols: Symbols, ids: Tensor) -> list[Letter]:
    """Colour a given text, read from the zero state.

    Raises:
        UsageError: the text is empty, or longer than `LONGEST_TEXT` symbols.
    """
    if not 1 <= len(ids) <= LONGEST_TEXT:
        raise UsageError(
            f"text should have 1 to {LONGEST_TEXT:,} {symbol_name(symbols.unit)}s to be coloured, got {len(ids):,}"
        )
    return letters(ids, [(), *weight_changes(model, ids[:-1]).tolist()], symbols)


def letters(
    ids: Tensor, changes: Sequence[Sequence[float]], symbols: Symbols, details: Sequence[Details | None] = ()
) -> list[Letter]:
    """The letters of some symbols, with the changes of each, and with the details of its step if they are given.

    A character of several bytes has the largest change of its bytes, and the details of the last one.
    """
    texts = [symbols.alphabet[i] for i in ids.tolist()]
    details = details or [None] * len(texts)
    if symbols.unit != "byte":
        return [Letter(text, tuple(change), more) for text, change, more in zip(texts, changes, details, strict=True)]
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    found: list[Letter] = []
    first = 0
    for t, text in enumerate(texts):
        if decoded := decoder.decode(text.encode("latin-1"), final=t == len(texts) - 1):
            found.append(Letter(decoded, largest(changes[first : t + 1]), details[t]))
            first = t + 1
    return found


def largest(changes: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """The largest change of each gate in several steps. A symbol without a step has no changes."""
    return tuple(map(max, zip(*filter(None, changes), strict=True)))


def full_colour(letters: Iterable[Letter]) -> tuple[float, ...]:
    """The change of each gate that gets the full colour; above 0."""
    changes = torch.tensor([letter.changes for letter in letters if letter.changes])
    if not changes.numel():
        return ()
    return tuple(changes.quantile(FULL_COLOUR, dim=0).clamp(min=torch.finfo(changes.dtype).tiny).tolist())
