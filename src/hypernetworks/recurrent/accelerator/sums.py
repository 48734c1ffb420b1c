"""Gradients of parameters that are sums over all rows: gain and shift of a norm, and D.

The rows are divided among SPLITS programs. Each program sums its own rows, and the parts are summed afterwards in a fixed
order. Without atomics, equal inputs give equal bits.
"""

import triton
import triton.language as tl

from .parts import load


@triton.jit(do_not_specialize=["rows", "share"])
def norm_gradients(
    grad_normed,
    a,
    stats,
    partial,
    rows,
    share,
    GATES: tl.constexpr,
    SIZE: tl.constexpr,
    STATS: tl.constexpr,
    STAT: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Σ_n grad ⊙ (a − mean)/σ and Σ_n grad over a share of the rows, to partial (SPLITS, 2, GATES·SIZE).

    STAT is where stats (N, STATS) has the first gate's mean.
    """
    TILES: tl.constexpr = (SIZE + BLOCK_C - 1) // BLOCK_C
    gate = tl.program_id(0) // TILES
    j = (tl.program_id(0) % TILES) * BLOCK_C + tl.arange(0, BLOCK_C)
    split = tl.program_id(1)
    j_ok = j < SIZE
    column = gate * SIZE + j
    gain = tl.zeros((BLOCK_N, BLOCK_C), tl.float32)
    shift = tl.zeros((BLOCK_N, BLOCK_C), tl.float32)
    end = tl.minimum(rows, (split + 1) * share)
    for start in range(split * share, end, BLOCK_N):
        n = start + tl.arange(0, BLOCK_N)
        n_ok = n < end
        n = n.to(tl.int64)
        ok = n_ok[:, None] & j_ok[None, :]
        there = n[:, None] * (GATES * SIZE) + column[None, :]
        grad = load(grad_normed, there, ok)
        mean = load(stats, n * STATS + STAT + 2 * gate, n_ok)[:, None]
        inverse = load(stats, n * STATS + STAT + 2 * gate + 1, n_ok)[:, None]
        gain += grad * (load(a, there, ok) - mean) * inverse
        shift += grad
    to = partial + split * (2 * GATES * SIZE) + column
    tl.store(to, tl.sum(gain, 0), mask=j_ok)
    tl.store(to + GATES * SIZE, tl.sum(shift, 0), mask=j_ok)


@triton.jit
def _add_block(acc, grad_d, saved_z, n, n_ok, block, Z: tl.constexpr, BLOCK_Z: tl.constexpr, PRECISION: tl.constexpr):
    """acc + grad_dᵀ z, (columns, Z)."""
    e = tl.arange(0, BLOCK_Z)
    z = load(saved_z, n[:, None] * (12 * Z) + (block * Z + e)[None, :], n_ok[:, None] & (e < Z)[None, :])
    return tl.dot(tl.trans(grad_d), z, acc, input_precision=PRECISION)


@triton.jit(do_not_specialize=["rows", "share"])
def scale_gradients(
    grad_pre,
    wx,
    wh,
    saved_z,
    partial,
    rows,
    share,
    H: tl.constexpr,
    Z: tl.constexpr,
    WX_STRIDE: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_Z: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The gradient of D over a share of the rows, to partial (SPLITS, 12, H, Z): Σ_n grad d_a zᵀ with d_a = D_a z_a."""
    TILES: tl.constexpr = (H + BLOCK_C - 1) // BLOCK_C
    gate = tl.program_id(0) // TILES
    j = (tl.program_id(0) % TILES) * BLOCK_C + tl.arange(0, BLOCK_C)
    split = tl.program_id(1)
    j_ok = j < H
    column = gate * H + j
    acc_h = tl.zeros((BLOCK_C, BLOCK_Z), tl.float32)
    acc_x = tl.zeros((BLOCK_C, BLOCK_Z), tl.float32)
    acc_b = tl.zeros((BLOCK_C, BLOCK_Z), tl.float32)
    end = tl.minimum(rows, (split + 1) * share)
    for start in range(split * share, end, BLOCK_N):
        n = start + tl.arange(0, BLOCK_N)
        n_ok = n < end
        n = n.to(tl.int64)
        ok = n_ok[:, None] & j_ok[None, :]
        there = n[:, None] * (4 * H) + column[None, :]
        grad = load(grad_pre, there, ok)
        grad_h = grad * load(wh, there, ok)
        grad_x = grad * load(wx, n[:, None] * WX_STRIDE + column[None, :], ok)
        acc_h = _add_block(acc_h, grad_h, saved_z, n, n_ok, gate, Z, BLOCK_Z, PRECISION)
        acc_x = _add_block(acc_x, grad_x, saved_z, n, n_ok, 4 + gate, Z, BLOCK_Z, PRECISION)
        acc_b = _add_block(acc_b, grad, saved_z, n, n_ok, 8 + gate, Z, BLOCK_Z, PRECISION)
    e = tl.arange(0, BLOCK_Z)
    ok = j_ok[:, None] & (e < Z)[None, :]
    to = partial + split * (12 * H * Z) + column[:, None] * Z + e[None, :]
    tl.store(to, acc_h, mask=ok)
    tl.store(to + 4 * H * Z, acc_x, mask=ok)
    tl.store(to + 8 * H * Z, acc_b, mask=ok)
