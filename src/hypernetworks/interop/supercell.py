"""Weights in from supercell, the TensorFlow cells of the paper's first author: its variables by their own names.

supercell's matrices are (in, out) and its gates i, j (our g), f, o. It adds a forget bias of 1 inside σ, after the norm; here
that is a part of the norm's shift, or of b without a norm. Its norms have ε = 1e-3. Without layer norm neither of its cells is
normalised. Its states are (c, h), main and hyper side by side.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hypernetworks.recurrent import LSTM, HyperLSTM
from hypernetworks.recurrent.lstm import LSTMCell

from .names import Names, fill, fill_norm

EPS = 1e-3
FORGET_BIAS = 1.0
OURS_IN_THEIRS = [0, 2, 1, 3]
"""The positions of our gates i, f, g, o among theirs, i, j = g, f, o."""
GATES = "ifjo"
"""Their letters, in our order."""


def _gates(stacked: Tensor) -> Tensor:
    """From (…, 4·H) in their order of gates to (4, H, …) in ours."""
    by_gate = stacked.unflatten(-1, (4, -1))[..., OURS_IN_THEIRS, :]
    return by_gate.movedim((-2, -1), (0, 1))


def _with_forget_bias(gates: Tensor) -> Tensor:
    """Add the forget bias to a shift or bias (4, H)."""
    gates = gates.clone()
    gates[1] += FORGET_BIAS
    return gates


def _fill_lstm(names: Names, prefix: str, W_h: str, norm: str, cell: LSTMCell) -> None:
    """Fill an LSTM cell from the variables below a scope."""
    fill(prefix + "W_xh", cell.weight_x, _gates(names.take(prefix + "W_xh")).flatten(0, 1))
    fill(prefix + W_h, cell.weight_h, _gates(names.take(prefix + W_h)).flatten(0, 1))
    b = _gates(names.take(prefix + "bias"))
    if cell.norm is None:
        b = _with_forget_bias(b)
    else:
        gain, shift = _gates(names.take(f"{prefix}{norm}/ln_gamma")), _gates(names.take(f"{prefix}{norm}/ln_beta"))
        fill_norm(prefix + norm, cell.norm, gain, _with_forget_bias(shift))
        gain, shift = names.take(prefix + "ln_c/ln_gamma"), names.take(prefix + "ln_c/ln_beta")
        fill_norm(prefix + "ln_c", cell.cell_norm, gain, shift)
    fill(prefix + "bias", cell.bias, b.flatten())


def _scope(names: Names) -> str:
    """The scope of the outer cell: what precedes W_xh in the shortest such name."""
    ends = [name for name in names if name == "W_xh" or name.endswith("/W_xh")]
    if not ends:
        raise ValueError("variables should hold a '…/W_xh', but do not")
    return min(ends, key=len).removesuffix("W_xh")


def _plain_names(variables: Mapping[str, Any]) -> Names:
    """TensorFlow's names with or without the ':0' that those of a graph end in."""
    if isinstance(variables, Mapping):
        variables = {name.removesuffix(":0"): array for name, array in variables.items()}
    return Names(variables, "variables")


def hyper_lstm_from_supercell(variables: Mapping[str, Any]) -> HyperLSTM:
    """An hn.HyperLSTM that computes what supercell's HyperLSTMCell with these variables computes.

    variables: supercell's names (HyperLSTMCell/W_xh, HyperLSTMCell/hyper_ix/zw/super_linear_w, …, in any outer scope) to
    arrays; their dtype is kept, sizes and layer norm are read from them.

    Raises:
        ValueError: naming what is missing, superfluous or misshapen.
    """
    names = _plain_names(variables)
    scope = _scope(names)
    I, H = names.shape(scope + "W_xh")[0], names.shape(scope + "W_hh")[0]
    K, Z = names.shape(scope + "hyper_ih/zw/super_linear_w")
    normed = scope + "ln_c/ln_gamma" in names
    rnn = HyperLSTM(I, H, hyper_size=K, hyper_embedding_size=Z, layer_norm=normed, layer_norm_eps=EPS, **names.made)
    cell = rnn.cell(0)
    _fill_lstm(names, scope, "W_hh", "ln_all", cell.main)
    _fill_lstm(names, scope + "LSTMCell/", "W_hh_i", "ln", cell.hyper.lstm)
    blocks = [f"{scope}hyper_{y}{a}" for a in "hx" for y in GATES]
    shifts = [f"{scope}hyper_{y}b" for y in GATES]
    P = [names.take(f"{block}/zw/super_linear_w").T for block in blocks]
    P += [names.take(f"{block}/zb/super_linear_w").T for block in shifts]
    fill(scope + "z", cell.hyper.P, torch.stack(P))
    fill(scope + "z bias", cell.hyper.p, torch.stack([names.take(f"{block}/zw/super_linear_b") for block in blocks]))
    D = [names.take(f"{block}/alpha/super_linear_w").T for block in blocks]
    D += [names.take(f"{block}/beta/super_linear_w").T for block in shifts]
    fill(scope + "d", cell.hyper.D, torch.stack(D))
    names.finish()
    return rnn


def lstm_from_supercell(variables: Mapping[str, Any]) -> LSTM:
    """An hn.LSTM that computes what supercell's LSTMCell with these variables computes.

    variables: supercell's names (LSTMCell/W_xh, LSTMCell/W_hh_i, LSTMCell/bias, …, in any outer scope) to arrays; their
    dtype is kept, sizes and layer norm are read from them.

    Raises:
        ValueError: naming what is missing, superfluous or misshapen.
    """
    names = _plain_names(variables)
    scope = _scope(names)
    I, H = names.shape(scope + "W_xh")[0], names.shape(scope + "W_hh_i")[0]
    normed = scope + "ln_c/ln_gamma" in names
    lstm = LSTM(I, H, layer_norm=normed, layer_norm_eps=EPS, **names.made)
    _fill_lstm(names, scope, "W_hh_i", "ln", lstm.cell(0))
    names.finish()
    return lstm
