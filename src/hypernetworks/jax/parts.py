"""What the layers have in common: the product of all inputs, and layer normalisation where a layer has one.

LN(a) = (a − mean(a)) / sqrt(var(a) + ε) ⊙ gain + shift          over the last dimension of a
"""

import jax  # pyright: ignore[reportMissingImports]

from .weights import Weights


def product_with_x(weights: Weights, x: jax.Array) -> jax.Array:
    """W_x x + b, (…, gates·H): of all time steps at once in a sequence."""
    wx = x @ weights["weight_x"].T
    return wx + weights["bias"] if "bias" in weights else wx


def layer_norm(a: jax.Array, weights: Weights, name: str, eps: float, part: slice | int = slice(None)) -> jax.Array:
    """LN(a) with gain and shift `name`.gain and `name`.shift, of which `part` is used; `a` itself if there is no such norm."""
    if f"{name}.gain" not in weights:
        return a
    a = a - a.mean(-1, keepdims=True)
    a = a * jax.lax.rsqrt((a * a).mean(-1, keepdims=True) + eps)
    return a * weights[f"{name}.gain"][part] + weights[f"{name}.shift"][part]
