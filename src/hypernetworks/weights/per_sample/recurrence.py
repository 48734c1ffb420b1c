"""torch's lstm, gru and rnn and their cells, run by the steps of `recurrent`: torch.func.vmap has no rule for torch's own.

torch passes one flat list of weights: W_x, W_h and, with biases, b_x, b_h of each layer and direction.

B batch, T time, I input, H hidden, G gates.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hypernetworks.recurrent.cell import gates_first
from hypernetworks.recurrent.gru import GRUWeights, gru_step
from hypernetworks.recurrent.lstm import LSTMWeights, lstm_step

State = tuple[Tensor, ...]
Weights = tuple[Tensor, Tensor, Tensor | None, Tensor | None]
Step = Callable[[Tensor, State, Weights], State]


def _lstm_step(x: Tensor, state: State, weights: Weights) -> State:
    """One step of an LSTM: x (B, I), state (h, c)."""
    W_x, W_h, b_x, b_h = weights
    wx = gates_first(F.linear(x, W_x, b_x), 4)
    wh = gates_first(F.linear(state[0], W_h, b_h), 4)
    return lstm_step(wx, wh, state, LSTMWeights(W_x, W_h, None, None, None), None)


def _gru_step(x: Tensor, state: State, weights: Weights) -> State:
    """One step of a GRU: x (B, I), state (h,)."""
    W_x, W_h, b_x, b_h = weights
    wx = gates_first(F.linear(x, W_x, b_x), 3)
    wh = gates_first(F.linear(state[0], W_h, b_h), 3)
    return gru_step(wx, wh, state, GRUWeights(W_x, W_h, None, None, None, None), None)  # the biases are in wx and wh


def _rnn_step(activation: Callable[[Tensor], Tensor], x: Tensor, state: State, weights: Weights) -> State:
    """One step of a plain RNN: h_t = tanh or relu of W_x x_t + b_x + W_h h_{t-1} + b_h."""
    W_x, W_h, b_x, b_h = weights
    return (activation(F.linear(x, W_x, b_x) + F.linear(state[0], W_h, b_h)),)


def _run(step: Step, x: Tensor, state: State, weights: Weights, reverse: bool) -> tuple[Tensor, State]:
    """One layer in one direction: x (T, B, I) -> (T, B, H) and the final state."""
    outputs = []
    steps = x.unbind(0)
    for x_t in reversed(steps) if reverse else steps:
        state = step(x_t, state, weights)
        outputs.append(state[0])
    if reverse:
        outputs.reverse()
    return torch.stack(outputs), state


def _recurrence(
    step: Step,
    input: Tensor,
    hx: Tensor | Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, ...]:
    """A whole network, called as torch.lstm is. Returns the output, then each tensor of the state."""
    initial = (hx,) if isinstance(hx, Tensor) else tuple(hx)
    directions, each = 2 if bidirectional else 1, 4 if has_biases else 2
    if len(params) != num_layers * directions * each:
        raise ValueError("a recurrent network with projections (proj_size) cannot have weights for each sample")
    x = input.transpose(0, 1) if batch_first else input
    finals: list[State] = []
    for layer in range(num_layers):
        if layer:
            x = F.dropout(x, dropout, train)
        outputs = []
        for k in range(layer * directions, (layer + 1) * directions):
            own = params[k * each : (k + 1) * each]
            weights: Weights = (own[0], own[1], own[2], own[3]) if has_biases else (own[0], own[1], None, None)
            output, final = _run(step, x, tuple(part[k] for part in initial), weights, reverse=k % directions == 1)
            outputs.append(output)
            finals.append(final)
        x = torch.cat(outputs, dim=-1)
    output = x.transpose(0, 1) if batch_first else x
    return output, *(torch.stack(parts) for parts in zip(*finals, strict=True))


def _cell(
    step: Step,
    input: Tensor,
    hx: Tensor | Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor | State:
    """One step of one layer, called as torch.lstm_cell is. Returns the state, a tensor if it is given as one."""
    state = step(input, (hx,) if isinstance(hx, Tensor) else tuple(hx), (w_ih, w_hh, b_ih, b_hh))
    return state[0] if isinstance(hx, Tensor) else state


_STEPS: dict[Any, Step] = {
    torch.lstm: _lstm_step,
    torch.gru: _gru_step,
    torch.rnn_tanh: partial(_rnn_step, torch.tanh),
    torch.rnn_relu: partial(_rnn_step, torch.relu),
}

_CELLS: dict[Any, Step] = {
    torch.lstm_cell: _lstm_step,
    torch.gru_cell: _gru_step,
    torch.rnn_tanh_cell: partial(_rnn_step, torch.tanh),
    torch.rnn_relu_cell: partial(_rnn_step, torch.relu),
}

RECURRENCES: dict[Any, Callable[..., Any]] = {
    **{function: partial(_recurrence, step) for function, step in _STEPS.items()},
    **{function: partial(_cell, step) for function, step in _CELLS.items()},
}
"""The functions, and what is called instead."""
