"""Scoring a model on a text: one stream from the zero state, every character except the first predicted once.

nats = −(1/(N−1)) Σ_{t=1}^{N−1} ln p(character t | characters 0 … t−1)          bits per character = nats / ln 2

A model of words is scored in the same way on the symbols of a text, N words and other characters. Its nats are those of a
symbol, and not comparable with those of a character. Its bits per character are: they are the bits of all symbols, divided by
the number of characters.

A second protocol scores random windows, each from the zero state, so that the first characters of a window are predicted from
little context. Published scores of models with a fixed context are measured in this way, for example those of nanoGPT
(github.com/karpathy/nanoGPT, estimate_loss). They are higher than those of one stream.

An ensemble is scored by the mean of its models' probabilities, p = (1/M) Σ_m p_m, as one model would be.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hypernetworks.errors import UsageError
from hypernetworks.text.config import Symbols
from hypernetworks.text.model import CharacterModel
from hypernetworks.text.stepper import Weights, read_step, stepper
from hypernetworks.training.random import generator

Protocol = Literal["stream", "windows"]

WINDOWS = 1024
"""Random windows that are scored."""

_BATCH = 64  # windows read in parallel

CHUNK = 1024
"""Characters per forward pass. The state is carried, so the score depends on it only by rounding."""


@dataclass(frozen=True)
class TextScore:
    """The score of a model on a text.

    Example:
        >>> from hypernetworks.text import TextScore
        >>> round(TextScore(characters=1000, nats=1.466).bpc, 3)
        2.115
    """

    characters: int
    """Number of characters predicted; of bytes, for a model of bytes."""
    nats: float
    """Mean −ln p of a symbol: a character or byte, or, for a model of words, a word or a character."""
    symbols: int = 0
    """Number of symbols predicted, if they are words and characters; 0: each is a character or byte."""

    @property
    def bpc(self) -> float:
        """Bits per character; per byte, for a model of bytes."""
        return self.nats * (self.symbols or self.characters) / self.characters / math.log(2)


@torch.inference_mode()
def evaluate(model: CharacterModel, ids: Tensor, weights: Weights = "float32", state: Any = None) -> TextScore:
    """Score a model in evaluation mode on a text of symbol ids (N,), then restore its training mode.

    With weights="bfloat16" or "int8" a stepper that stores the weights in this way reads the text, as in generation. `state` is
    the state of one stream to start from; None: zero.

    Example:
        >>> from hypernetworks.text import CharacterModel, CharacterModelConfig
        >>> model = CharacterModel(CharacterModelConfig(hidden_size=32), symbols=65)
        >>> evaluate(model, torch.randint(65, (100,))).characters
        99

    Raises:
        UsageError: the text has fewer than two symbols, so nothing can be predicted.
    """
    training = model.training
    model.eval()
    try:
        return _score([_reader(model, weights, state)], ids, model.head.weight.device)
    finally:
        model.train(training)


@torch.inference_mode()
def evaluate_ensemble(models: Sequence[CharacterModel], ids: Tensor) -> TextScore:
    """Score the mean of the probabilities of several models on a text of symbol ids (N,).

    p(t) = (1/M) Σ_m p_m(t)

    The models are in evaluation mode and on one device, and read the same symbols.

    Raises:
        UsageError: the text has fewer than two symbols, so nothing can be predicted.
    """
    return _score([_reader(model, "float32", None) for model in models], ids, models[0].head.weight.device)


def _score(readers: Sequence[Callable[[Tensor], Tensor]], ids: Tensor, device: torch.device) -> TextScore:
    if len(ids) < 2:
        raise UsageError(f"scoring requires a text of at least 2 symbols, got {len(ids)}")
    total = 0.0
    for start in range(0, len(ids) - 1, CHUNK):
        part = ids[start : start + CHUNK + 1].long().to(device)
        each = [F.cross_entropy(read(part[:-1]).double(), part[1:], reduction="none") for read in readers]
        # −ln p = ln M − ln Σ_m exp(ln p_m)
        total += (math.log(len(readers)) - torch.stack(each).neg().logsumexp(dim=0)).sum().item()
    return TextScore(len(ids) - 1, total / (len(ids) - 1))


def in_characters(score: TextScore, ids: Tensor, symbols: Symbols) -> TextScore:
    """The score of a model on a text of symbol ids (N,), with the number of characters predicted, if the symbols are words."""
    if symbols.unit != "word":
        return score
    return TextScore(symbols.count_characters(ids[1:].cpu()), score.nats, score.characters)


class WindowScore(NamedTuple):
    """The score of a model on random windows of a text."""

    windows: int
    nats: float
    """Mean −ln p of a symbol."""
    error: float
    """The standard error of nats, from the windows drawn."""


@torch.inference_mode()
def evaluate_windows(
    model: CharacterModel, ids: Tensor, length: int, seed: int = 0, windows: int = WINDOWS
) -> WindowScore:
    """Score random windows of a text of symbol ids (N,), at least two, in each of which `length` characters are predicted.

    Raises:
        UsageError: the text has no window of that length.
    """
    if not 1 <= length < len(ids):
        raise UsageError(f"window should be from 1 to {len(ids) - 1} (the text has {len(ids)} symbols), got {length}")
    device, training = model.head.weight.device, model.training
    starts = torch.randint(len(ids) - length, (windows,), generator=generator(seed, "windows", 0))
    model.eval()
    nats: list[float] = []
    try:
        for some in starts.split(_BATCH):
            part = ids[some + torch.arange(length + 1).unsqueeze(1)].long().to(device)  # (T + 1, windows)
            logits, _ = model(part[:-1])
            losses = F.cross_entropy(logits.double().flatten(0, 1), part[1:].flatten(), reduction="none")
            nats += losses.view(length, -1).mean(dim=0).tolist()
    finally:
        model.train(training)
    return WindowScore(len(nats), fmean(nats), stdev(nats) / math.sqrt(len(nats)))


def _reader(model: CharacterModel, weights: Weights, state: Any) -> Callable[[Tensor], Tensor]:
    """A function that reads the next characters of a stream, (T,), and returns their logits (T, V)."""

    def read(ids: Tensor) -> Tensor:
        nonlocal state
        logits, state = model(ids.unsqueeze(1), state)
        return logits.squeeze(1)

    if weights == "float32":
        return read  # a whole chunk in one call packs the weights once, too
    step = stepper(model, 1, weights)
    if state is not None:
        step.state = state
    return lambda ids: model.head(torch.cat([read_step(model, step, id) for id in ids.split(1)]))
