"""Weights in from labml_nn (annotated PyTorch paper implementations, version 0.5.1): its state_dicts by their own names.

labml_nn has the gates i, f, g, o; its hyper cell reads [h; x], ours [x; h]; the bias of its d_b is our b; its norms are
torch.nn.LayerNorm with ε = 1e-5.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hypernetworks.recurrent import LSTM, RHN, HyperLSTM
from hypernetworks.recurrent.lstm import LSTMCell

from .names import Names, fill, fill_norm

GATES = range(4)


def _stack(names: Names, pattern: str) -> Tensor:
    """The tensors of the four gates, (4, …)."""
    return torch.stack([names.take(pattern.format(y)) for y in GATES])


def _fill_norms(names: Names, prefix: str, cell: LSTMCell) -> None:
    gain, shift = _stack(names, prefix + "layer_norm.{}.weight"), _stack(names, prefix + "layer_norm.{}.bias")
    fill_norm(prefix + "layer_norm", cell.norm, gain, shift)
    gain, shift = names.take(prefix + "layer_norm_c.weight"), names.take(prefix + "layer_norm_c.bias")
    fill_norm(prefix + "layer_norm_c", cell.cell_norm, gain, shift)


def _fill_lstm(names: Names, prefix: str, cell: LSTMCell, reads_h_first: int = 0) -> None:
    """Fill an LSTM cell; with reads_h_first = H the first H columns of its input matrix are moved to the end."""
    W_x = names.take(prefix + "input_lin.weight")
    fill(prefix + "input_lin.weight", cell.weight_x, W_x.roll(-reads_h_first, dims=1))
    fill(prefix + "hidden_lin.weight", cell.weight_h, names.take(prefix + "hidden_lin.weight"))
    fill(prefix + "hidden_lin.bias", cell.bias, names.take(prefix + "hidden_lin.bias"))
    if cell.norm is not None:
        _fill_norms(names, prefix, cell)


def hyper_lstm_from_labml(state_dict: Mapping[str, Any]) -> HyperLSTM:
    """An hn.HyperLSTM that computes what labml_nn's HyperLSTM with this state_dict computes.

    state_dict: labml_nn's names (cells.0.hyper.hidden_lin.weight, …) to tensors or arrays; their dtype is kept, sizes
    and the number of layers are read from them.

    Raises:
        ValueError: naming what is missing, superfluous or misshapen.
    """
    names = Names(state_dict, "state_dict")
    H, I = names.shape("cells.0.w_x.0")
    Z = names.shape("cells.0.d_h.0.weight")[1]
    K = names.shape("cells.0.hyper.hidden_lin.weight")[1]
    layers = names.count("cells.{}.w_h.0")
    rnn = HyperLSTM(I, H, layers, hyper_size=K, hyper_embedding_size=Z, **names.made)
    for k in range(layers):
        prefix, cell = f"cells.{k}.", rnn.cell(k)
        fill(prefix + "w_x", cell.main.weight_x, _stack(names, prefix + "w_x.{}").flatten(0, 1))
        fill(prefix + "w_h", cell.main.weight_h, _stack(names, prefix + "w_h.{}").flatten(0, 1))
        fill(prefix + "d_b bias", cell.main.bias, _stack(names, prefix + "d_b.{}.bias").flatten())
        _fill_norms(names, prefix, cell.main)
        _fill_lstm(names, prefix + "hyper.", cell.hyper.lstm, reads_h_first=H)
        P = torch.cat([names.take(f"{prefix}z_{a}.weight") for a in "hxb"])
        fill(prefix + "z weight", cell.hyper.P, P.view(3 * len(GATES), -1, K))
        p = torch.cat([names.take(f"{prefix}z_{a}.bias") for a in "hx"])
        fill(prefix + "z bias", cell.hyper.p, p.view(2 * len(GATES), -1))
        D = torch.cat([_stack(names, f"{prefix}d_{a}.{{}}.weight") for a in "hxb"])
        fill(prefix + "d weight", cell.hyper.D, D)
    names.finish()
    return rnn


def lstm_from_labml(state_dict: Mapping[str, Any]) -> LSTM:
    """An hn.LSTM that computes what labml_nn's LSTM, or LSTMCell (layer-normalised or not), computes.

    state_dict: of an LSTM (cells.0.hidden_lin.weight, …) or of one LSTMCell (hidden_lin.weight, …), which becomes a network
    of one layer; dtype, sizes, number of layers and layer norm are read from it.

    Raises:
        ValueError: naming what is missing, superfluous or misshapen.
    """
    names = Names(state_dict, "state_dict")
    layers = names.count("cells.{}.input_lin.weight")
    prefixes = [f"cells.{k}." for k in range(layers)] or [""]
    H = names.shape(prefixes[0] + "hidden_lin.weight")[1]
    I = names.shape(prefixes[0] + "input_lin.weight")[1]
    normed = prefixes[0] + "layer_norm_c.weight" in names
    lstm = LSTM(I, H, len(prefixes), layer_norm=normed, **names.made)
    for k, prefix in enumerate(prefixes):
        _fill_lstm(names, prefix, lstm.cell(k))
    names.finish()
    return lstm


def rhn_from_labml(state_dict: Mapping[str, Any]) -> RHN:
    """An hn.RHN that computes what labml_nn's RHN with this state_dict computes.

    state_dict: labml_nn's names (cells.0.hidden_lin.0.weight, …) to tensors or arrays; their dtype is kept, sizes, depth
    and number of layers are read from them.

    Raises:
        ValueError: naming what is missing, superfluous or misshapen.
    """
    names = Names(state_dict, "state_dict")
    I = names.shape("cells.0.input_lin.weight")[1]
    H = names.shape("cells.0.hidden_lin.0.weight")[1]
    layers, depth = names.count("cells.{}.input_lin.weight"), names.count("cells.0.hidden_lin.{}.weight")
    rhn = RHN(I, H, layers, depth=depth, **names.made)
    for k in range(layers):
        prefix, cell = f"cells.{k}.", rhn.cell(k)
        fill(prefix + "input_lin.weight", cell.weight_x, names.take(prefix + "input_lin.weight"))
        R = torch.stack([names.take(f"{prefix}hidden_lin.{l}.weight") for l in range(depth)])
        fill(prefix + "hidden_lin weight", cell.weight_h, R)
        b = torch.stack([names.take(f"{prefix}hidden_lin.{l}.bias") for l in range(depth)])
        fill(prefix + "hidden_lin bias", cell.bias, b)
    names.finish()
    return rhn
