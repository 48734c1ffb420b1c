"""The HyperLSTM as pure functions. Equations and names are those of hypernetworks.recurrent.hyper_lstm.

    ĥ_t    = LSTM(Ŵ [x_t; h_{t-1}] + b̂ + Û ĥ_{t-1})                   the hyper cell
    d_a^y  = D_a^y (P_a^y ĥ_t + p_a^y)                                for a of h, x, b and y of i, f, g, o; no p for b
    pre^y  = LN_y(d_h^y ⊙ W_h^y h_{t-1} + d_x^y ⊙ W_x^y x_t + d_b^y + b^y)
    c_t    = σ(f) ⊙ c_{t-1} + σ(i) ⊙ tanh g
    h_t    = σ(o) ⊙ tanh(LN_c(c_t))

T time, B batch, I input, H hidden, K hyper hidden, Z embedding.
"""

from typing import NamedTuple

import jax  # pyright: ignore[reportMissingImports]
import jax.numpy as jnp  # pyright: ignore[reportMissingImports]

from .checks import check_input, initial
from .lstm import update
from .weights import Weights


class HyperLSTMState(NamedTuple):
    """The state of a HyperLSTM: h and c (B, H), hyper_h = ĥ and hyper_c = ĉ (B, K).

    Example:
        >>> from hypernetworks import jax as hj
        >>> weights = hj.from_torch(hn.HyperLSTMCell(10, 20, hyper_size=8))
        >>> h, state = hj.hyper_lstm_step(weights, jax.numpy.ones((3, 10)))
        >>> state.hyper_h.shape
        (3, 8)
    """

    h: jax.Array
    c: jax.Array
    hyper_h: jax.Array
    hyper_c: jax.Array


class _Joined(NamedTuple):
    """Weights arranged as a step needs them, once for all steps."""

    on_h: jax.Array
    """[W_h; Ŵ_h], (4H + 4K, H): main and hyper cell share the product on h."""
    P: jax.Array
    """(blocks·Z, K)."""
    p: jax.Array
    """(blocks, Z), zero for b."""
    b: jax.Array
    """(4, H)."""


def hyper_lstm(
    weights: Weights, x: jax.Array, state: HyperLSTMState | None = None, *, eps: float = 1e-5
) -> tuple[jax.Array, HyperLSTMState]:
    """One layer of a HyperLSTM over all time steps: the outputs h_1 … h_T, (T, B, H), and the state after the last one.

        d_a^y = D_a^y (P_a^y ĥ_t + p_a^y)
        pre^y = LN_y(d_h^y ⊙ W_h^y h_{t-1} + d_x^y ⊙ W_x^y x_t + d_b^y + b^y)
        c_t = σ(f) ⊙ c_{t-1} + σ(i) ⊙ tanh g
        h_t = σ(o) ⊙ tanh(LN_c(c_t))

    Args:
        weights: those of an `hn.HyperLSTMCell`, by its names: main.weight_x, hyper.P, hyper.lstm.norm.gain, … LN is left out
            where there is no norm.
        x: the input, (T, B, I).
        state: the state before the first step, zeros if left out.
        eps: ε of the norms, which is not a weight: `layer_norm_eps` of the torch network.

    Raises:
        ValueError: x or the state has another shape.

    Source: HyperNetworks, arXiv 1609.09106, section 3.2 and appendix A.2.2.

    Example:
        >>> from hypernetworks import jax as hj
        >>> weights = hj.from_torch(hn.HyperLSTM(10, 20, hyper_size=8))
        >>> output, state = hj.hyper_lstm(hj.layer(weights, 0), jax.numpy.ones((5, 3, 10)))
        >>> output.shape
        (5, 3, 20)
    """
    check_input(x, "TBI", weights["main.weight_x"].shape[1])
    state = _started(weights, x, state)
    joined = _join(weights)

    def step(state: HyperLSTMState, wx: tuple[jax.Array, jax.Array]) -> tuple[HyperLSTMState, jax.Array]:
        state = _step(weights, joined, wx, state, eps)
        return state, state.h

    state, output = jax.lax.scan(step, state, _products_with_x(weights, x))
    return output, state


def hyper_lstm_step(
    weights: Weights, x: jax.Array, state: HyperLSTMState | None = None, *, eps: float = 1e-5
) -> tuple[jax.Array, HyperLSTMState]:
    """One step of a HyperLSTM: h_t, (B, H), and the new state. x is (B, I); the rest as in `hyper_lstm`.

    Example:
        >>> from hypernetworks import jax as hj
        >>> weights = hj.from_torch(hn.HyperLSTMCell(10, 20, hyper_size=8))
        >>> h, state = hj.hyper_lstm_step(weights, jax.numpy.ones((3, 10)))
        >>> h.shape
        (3, 20)
    """
    check_input(x, "BI", weights["main.weight_x"].shape[1])
    state = _step(weights, _join(weights), _products_with_x(weights, x), _started(weights, x, state), eps)
    return state.h, state


def _started(weights: Weights, x: jax.Array, state: HyperLSTMState | None) -> HyperLSTMState:
    B, H, K = x.shape[-2], weights["main.weight_h"].shape[1], weights["hyper.P"].shape[2]
    shapes = {"h": (B, H), "c": (B, H), "hyper_h": (B, K), "hyper_c": (B, K)}
    return HyperLSTMState(*initial(state, shapes, x))


def _products_with_x(weights: Weights, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """W_x x, (…, 4H), and Ŵ_x x + b̂, (…, 4K), from one product: of all time steps at once in a sequence."""
    main, hyper = weights["main.weight_x"], weights["hyper.lstm.weight_x"][:, : x.shape[-1]]
    wx, hyper_wx = jnp.split(x @ jnp.concatenate((main, hyper)).T, (len(main),), axis=-1)
    return wx, hyper_wx + weights["hyper.lstm.bias"]


def _join(weights: Weights) -> _Joined:
    P, p = weights["hyper.P"], weights["hyper.p"]
    I, H = weights["main.weight_x"].shape[1], weights["main.weight_h"].shape[1]
    return _Joined(
        on_h=jnp.concatenate((weights["main.weight_h"], weights["hyper.lstm.weight_x"][:, I:])),
        P=P.reshape(-1, P.shape[2]),
        p=jnp.pad(p, ((0, len(P) - len(p)), (0, 0))),
        b=weights["main.bias"].reshape(4, H),
    )


def _step(
    weights: Weights, joined: _Joined, wx: tuple[jax.Array, jax.Array], state: HyperLSTMState, eps: float
) -> HyperLSTMState:
    B, H = state.h.shape
    main_wx, hyper_wx = wx[0].reshape(B, 4, H), wx[1]
    wh, hyper_wh = jnp.split(state.h @ joined.on_h.T, (4 * H,), axis=-1)
    # ĥ_t = LSTM(Ŵ [x_t; h_{t-1}] + b̂ + Û ĥ_{t-1})
    hyper_pre = hyper_wx + hyper_wh + state.hyper_h @ weights["hyper.lstm.weight_h"].T
    hyper_h, hyper_c = update(weights, hyper_pre.reshape(B, 4, -1), state.hyper_c, eps, "hyper.lstm.")
    # z_a^y = P_a^y ĥ_t + p_a^y;  d_a^y = D_a^y z_a^y
    z = (hyper_h @ joined.P.T).reshape(B, *joined.p.shape) + joined.p
    d_h, d_x, d_b = jnp.split(jnp.einsum("baz,ahz->bah", z, weights["hyper.D"]), 3, axis=1)
    # pre^y = d_h^y ⊙ W_h^y h_{t-1} + d_x^y ⊙ W_x^y x_t + d_b^y + b^y
    pre = d_h * wh.reshape(B, 4, H) + d_x * main_wx + d_b + joined.b
    h, c = update(weights, pre, state.c, eps, "main.")
    return HyperLSTMState(h, c, hyper_h, hyper_c)
