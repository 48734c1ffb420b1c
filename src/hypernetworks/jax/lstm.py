"""The LSTM, plain and layer-normalised, as pure functions. Equations and names are those of hypernetworks.recurrent.lstm.

    pre^y = LN_y(W_x^y x_t + W_h^y h_{t-1} + b^y)              for each gate y of i, f, g, o
    c_t   = σ(f) ⊙ c_{t-1} + σ(i) ⊙ tanh g
    h_t   = σ(o) ⊙ tanh(LN_c(c_t))

T time, B batch, I input, H hidden.  W_x (4H, I), W_h (4H, H), b (4H): gates i, f, g, o.
"""

from typing import NamedTuple

import jax  # pyright: ignore[reportMissingImports]
import jax.numpy as jnp  # pyright: ignore[reportMissingImports]

from .checks import check_input, initial
from .parts import layer_norm, product_with_x
from .weights import Weights


class LSTMState(NamedTuple):
    """The state of an LSTM: h and c, each (B, H).

    Example:
        >>> from hypernetworks import jax as hj
        >>> zeros = jax.numpy.zeros((3, 20))
        >>> h, state = hj.lstm_step(hj.from_torch(hn.LSTMCell(10, 20)), jax.numpy.ones((3, 10)), hj.LSTMState(zeros, zeros))
        >>> state.c.shape
        (3, 20)
    """

    h: jax.Array
    c: jax.Array


def lstm(
    weights: Weights, x: jax.Array, state: LSTMState | None = None, *, eps: float = 1e-5
) -> tuple[jax.Array, LSTMState]:
    """One layer of an LSTM over all time steps: the outputs h_1 … h_T, (T, B, H), and the state after the last one.

        pre^y = LN_y(W_x^y x_t + W_h^y h_{t-1} + b^y)
        c_t = σ(f) ⊙ c_{t-1} + σ(i) ⊙ tanh g
        h_t = σ(o) ⊙ tanh(LN_c(c_t))

    Args:
        weights: those of an `hn.LSTMCell`: weight_x (4H, I), weight_h (4H, H) and, where there are such, bias (4H,),
            norm.gain and norm.shift (4, H), cell_norm.gain and cell_norm.shift (H,). LN is left out where there is no norm.
        x: the input, (T, B, I).
        state: the state before the first step, zeros if left out.
        eps: ε of the norms, which is not a weight: `layer_norm_eps` of the torch network.

    Raises:
        ValueError: x or the state has another shape.

    Source: HyperNetworks, arXiv 1609.09106, appendix A.2; layer norm as in arXiv 1607.06450, supplement.

    Example:
        >>> from hypernetworks import jax as hj
        >>> weights = hj.from_torch(hn.LSTM(10, 20, layer_norm=True))
        >>> output, state = hj.lstm(hj.layer(weights, 0), jax.numpy.ones((5, 3, 10)))
        >>> output.shape
        (5, 3, 20)
    """
    check_input(x, "TBI", weights["weight_x"].shape[1])
    state = _started(weights, x, state)
    state, output = jax.lax.scan(lambda state, wx: _step(weights, wx, state, eps), state, product_with_x(weights, x))
    return output, state


def lstm_step(
    weights: Weights, x: jax.Array, state: LSTMState | None = None, *, eps: float = 1e-5
) -> tuple[jax.Array, LSTMState]:
    """One step of an LSTM: h_t, (B, H), and the new state. x is (B, I); the rest as in `lstm`.

    Example:
        >>> from hypernetworks import jax as hj
        >>> h, state = hj.lstm_step(hj.from_torch(hn.LSTMCell(10, 20)), jax.numpy.ones((3, 10)))
        >>> h.shape
        (3, 20)
    """
    check_input(x, "BI", weights["weight_x"].shape[1])
    state = _started(weights, x, state)
    state, h = _step(weights, product_with_x(weights, x), state, eps)
    return h, state


def _started(weights: Weights, x: jax.Array, state: LSTMState | None) -> LSTMState:
    shape = (x.shape[-2], weights["weight_h"].shape[1])
    return LSTMState(*initial(state, {"h": shape, "c": shape}, x))


def _step(weights: Weights, wx: jax.Array, state: LSTMState, eps: float) -> tuple[LSTMState, jax.Array]:
    # pre^y = W_x^y x_t + W_h^y h_{t-1} + b^y
    pre = wx + state.h @ weights["weight_h"].T
    h, c = update(weights, pre.reshape(len(pre), 4, -1), state.c, eps)
    return LSTMState(h, c), h


def update(weights: Weights, pre: jax.Array, c: jax.Array, eps: float, prefix: str = "") -> tuple[jax.Array, jax.Array]:
    """h_t and c_t from the gates before their norm, (B, 4, H), and c_{t-1}. The norms' names start with `prefix`."""
    i, f, g, o = jnp.moveaxis(layer_norm(pre, weights, f"{prefix}norm", eps), 1, 0)
    # c_t = σ(f) ⊙ c_{t-1} + σ(i) ⊙ tanh g
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    # h_t = σ(o) ⊙ tanh(LN_c(c_t))
    return jax.nn.sigmoid(o) * jnp.tanh(layer_norm(c, weights, f"{prefix}cell_norm", eps)), c
