"""A character model whose generated weights do not move: see analysis/frozen.py."""

from collections.abc import Iterator
from copy import deepcopy

import torch
from torch import Tensor

from hypernetworks.analysis.frozen import freeze_scales, mean_hyper_states
from hypernetworks.errors import UsageError
from hypernetworks.recurrent.hyper import HyperRecurrentNetwork
from hypernetworks.text.model import CharacterModel

__all__ = ["with_frozen_scales"]

_STREAMS, _LENGTH = 64, 128


def with_frozen_scales(model: CharacterModel, ids: Tensor) -> CharacterModel:
    """A copy of a model in which every scale has its mean over a text of symbol ids (N,).

    The text is read as parallel streams.

    Raises:
        UsageError: the model generates no weights, or the text is empty.
    """
    if not isinstance(model.network, HyperRecurrentNetwork):
        raise UsageError(f"{model.config.network} generates no weights: there are no scales to freeze")
    if not len(ids):
        raise UsageError("the mean of the scales requires a text, got none")
    made = deepcopy(model).eval()
    assert isinstance(made.network, HyperRecurrentNetwork)
    freeze_scales(made.network, mean_hyper_states(made.network, _pieces(made, ids)))
    return made


@torch.no_grad()
def _pieces(model: CharacterModel, ids: Tensor) -> Iterator[Tensor]:
    """What the network reads of the streams, (T, B, ·)."""
    streams = max(1, min(_STREAMS, len(ids) // _LENGTH))
    cut = ids[: len(ids) // streams * streams].view(streams, -1).T
    for piece in cut.split(_LENGTH):
        yield model.embedding(piece.long().to(model.head.weight.device))
