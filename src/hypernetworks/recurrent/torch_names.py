"""The state_dict of torch.nn.LSTM, GRU and RNN, read under torch's names.

    W_x = weight_ih        W_h = weight_hh        b = bias_ih + bias_hh

The two biases of torch act as their sum. The exception is the candidate n of a GRU, whose bias on the side of h is multiplied
by the reset gate: it is b_h, and bias_ih alone is n's part of b.
"""

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .layer import TorchStandIn


def suffixes(num_layers: int, bidirectional: bool) -> Iterator[str]:
    """The endings of torch's parameter names, in the order of our cells."""
    for layer in range(num_layers):
        yield from (f"_l{layer}", f"_l{layer}_reverse") if bidirectional else (f"_l{layer}",)


def translate_names(network: "TorchStandIn[Any]", state: MutableMapping[str, Tensor], prefix: str, *_: Any) -> None:
    """Replace the tensors that a state_dict has under torch's names, below a prefix, by those of this network.

    It is called before load_state_dict, which checks all names and shapes. Tensors that have no place here keep their names.
    """
    for k, suffix in enumerate(suffixes(network.num_layers, network.bidirectional)):
        theirs = {name: f"{prefix}{name}{suffix}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        ours = f"{prefix}cells.{k}."
        for own, name in (("weight_x", "weight_ih"), ("weight_h", "weight_hh")):
            if theirs[name] in state:
                state[ours + own] = state.pop(theirs[name])
        biases = [theirs["bias_ih"], theirs["bias_hh"]]
        if network.bias and all(name in state for name in biases):
            bias_x, bias_h = (state.pop(name) for name in biases)
            if getattr(network.cell(k), "bias_h", None) is not None:
                bias_h, state[f"{ours}bias_h"] = _without_candidate(bias_h)
            state[f"{ours}bias"] = bias_x + bias_h


def _without_candidate(bias_h: Tensor) -> tuple[Tensor, Tensor]:
    """torch's bias_hh of a GRU with 0 for n, and n's part."""
    gates, candidate = bias_h.tensor_split([2 * len(bias_h) // 3])
    return torch.cat((gates, torch.zeros_like(candidate))), candidate.clone()
