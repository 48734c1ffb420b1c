"""The GRU, plain and layer-normalised, as pure functions. Equations and names are those of hypernetworks.recurrent.gru.

    r   = σ(LN_r(W_r x_t + U_r h_{t-1} + b_r))
    u   = σ(LN_u(W_u x_t + U_u h_{t-1} + b_u))
    n   = tanh(LN_n(W_n x_t + b_n + r ⊙ (U_n h_{t-1} + b_h)))
    h_t = (1 − u) ⊙ n + u ⊙ h_{t-1}

T time, B batch, I input, H hidden.  W_x (3H, I), W_h = U (3H, H), b (3H), b_h (H): gates r, u, n.
"""

import jax  # pyright: ignore[reportMissingImports]
import jax.numpy as jnp  # pyright: ignore[reportMissingImports]

from .checks import check_input, initial
from .parts import layer_norm, product_with_x
from .weights import Weights


def gru(
    weights: Weights, x: jax.Array, state: jax.Array | None = None, *, eps: float = 1e-5
) -> tuple[jax.Array, jax.Array]:
    """One layer of a GRU over all time steps: the outputs h_1 … h_T, (T, B, H), and h_T.

        r, u = σ(LN(W x_t + U h_{t-1} + b))
        n = tanh(LN_n(W_n x_t + b_n + r ⊙ (U_n h_{t-1} + b_h)))
        h_t = (1 − u) ⊙ n + u ⊙ h_{t-1}

    Args:
        weights: those of an `hn.GRUCell`: weight_x (3H, I), weight_h (3H, H) and, where there are such, bias (3H,),
            bias_h (H,), norm.gain and norm.shift (3, H). LN is left out where there is no norm.
        x: the input, (T, B, I).
        state: h before the first step, (B, H), zeros if left out.
        eps: ε of the norm, which is not a weight: `layer_norm_eps` of the torch network.

    Raises:
        ValueError: x or the state has another shape.

    Source: Cho et al., arXiv 1406.1078, in the form of torch.nn.GRU.

    Example:
        >>> from hypernetworks import jax as hj
        >>> weights = hj.from_torch(hn.GRU(10, 20))
        >>> output, h = hj.gru(hj.layer(weights, 0), jax.numpy.ones((5, 3, 10)))
        >>> output.shape
        (5, 3, 20)
    """
    check_input(x, "TBI", weights["weight_x"].shape[1])
    h = _started(weights, x, state)

    def step(h: jax.Array, wx: jax.Array) -> tuple[jax.Array, jax.Array]:
        h = _step(weights, wx, h, eps)
        return h, h

    h, output = jax.lax.scan(step, h, product_with_x(weights, x))
    return output, h


def gru_step(
    weights: Weights, x: jax.Array, state: jax.Array | None = None, *, eps: float = 1e-5
) -> tuple[jax.Array, jax.Array]:
    """One step of a GRU: h_t, (B, H), twice, as output and as state. x is (B, I); the rest as in `gru`.

    Example:
        >>> from hypernetworks import jax as hj
        >>> output, h = hj.gru_step(hj.from_torch(hn.GRUCell(10, 20)), jax.numpy.ones((3, 10)))
        >>> h.shape
        (3, 20)
    """
    check_input(x, "BI", weights["weight_x"].shape[1])
    h = _step(weights, product_with_x(weights, x), _started(weights, x, state), eps)
    return h, h


def _started(weights: Weights, x: jax.Array, state: jax.Array | None) -> jax.Array:
    shape = (x.shape[-2], weights["weight_h"].shape[1])
    (h,) = initial(None if state is None else (state,), {"h": shape}, x)
    return h


def _step(weights: Weights, wx: jax.Array, h: jax.Array, eps: float) -> jax.Array:
    H = h.shape[1]
    wh = h @ weights["weight_h"].T
    # r, u = σ(LN(W x_t + U h_{t-1} + b))
    gates = (wx[:, : 2 * H] + wh[:, : 2 * H]).reshape(-1, 2, H)
    r, u = jnp.moveaxis(jax.nn.sigmoid(layer_norm(gates, weights, "norm", eps, slice(2))), 1, 0)
    # n = tanh(LN_n(W_n x_t + b_n + r ⊙ (U_n h_{t-1} + b_h)))
    n_h = wh[:, 2 * H :] + weights["bias_h"] if "bias_h" in weights else wh[:, 2 * H :]
    n = jnp.tanh(layer_norm(wx[:, 2 * H :] + r * n_h, weights, "norm", eps, 2))
    # h_t = (1 − u) ⊙ n + u ⊙ h_{t-1}
    return n + u * (h - n)
