"""LSTM, layer-normalised LSTM, GRU and HyperLSTM for JAX: pure functions of their weights.

    from hypernetworks import jax as hj

    weights = hj.from_torch(rnn)                            # {"cells.0.main.weight_x": array, …}
    output, state = hj.hyper_lstm(hj.layer(weights, 0), x)  # all time steps, one jax.lax.scan
    h, state = hj.hyper_lstm_step(hj.layer(weights, 0), x[0], state)

The equations, names and shapes are those of the torch networks, and so are the numbers. Every function can be transformed by
jax.jit, jax.grad and jax.vmap.
"""

try:
    import jax as _jax  # noqa: F401  # pyright: ignore[reportMissingImports]
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError("hypernetworks.jax needs JAX: pip install 'hypernetworks[jax]'", name="jax") from _error

from .gru import gru, gru_step
from .hyper_lstm import HyperLSTMState, hyper_lstm, hyper_lstm_step
from .lstm import LSTMState, lstm, lstm_step
from .weights import from_torch, layer, to_torch

__all__ = [
    "HyperLSTMState",
    "LSTMState",
    "from_torch",
    "gru",
    "gru_step",
    "hyper_lstm",
    "hyper_lstm_step",
    "layer",
    "lstm",
    "lstm_step",
    "to_torch",
]
