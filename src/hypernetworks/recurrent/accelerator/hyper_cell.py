"""The hyper cell, forward and backward: a small LSTM and the embeddings z that it makes. One program computes one row.

    ĥ_t, ĉ_t = LSTM(hyper_pre, ĉ_{t-1});  z_a^y = P_a^y ĥ_t + p_a^y

P (12, Z, K), p (8, Z): blocks in the order h, x, b, and in each the gates i, f, g, o.
"""

import triton
import triton.language as tl

from .lstm_cell import cell, cell_gradients, load_gates, load_norm, store_gates
from .parts import follow, load, load_before, store


@triton.jit
def matrix_p(P, block, K: tl.constexpr, Z: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_Z: tl.constexpr):
    """P of one block, (Z, K)."""
    k = tl.arange(0, BLOCK_Q)
    e = tl.arange(0, BLOCK_Z)
    return load(P, (block * Z + e)[:, None] * K + k[None, :], (e < Z)[:, None] & (k < K)[None, :])


@triton.jit(do_not_specialize=["row", "before_row", "before_rows"])
def hyper_forward(
    hyper_pre,
    hyper_h,
    hyper_c,
    hyper_c0,
    saved_hyper_h,
    saved_hyper_c,
    hyper_stats,
    hyper_gain,
    hyper_shift,
    hyper_cell_gain,
    hyper_cell_shift,
    P,
    p,
    saved_z,
    row,
    before_row,
    before_rows,
    eps,
    K: tl.constexpr,
    Z: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_Z: tl.constexpr,
    PDL: tl.constexpr,
):
    """ĥ_t, ĉ_t and z. One program for each row and gate; all four compute the cell, the first one stores it."""
    b = tl.program_id(0)
    gate = tl.program_id(1)
    k = tl.arange(0, BLOCK_Q)
    ok = k < K
    e = tl.arange(0, BLOCK_Z)
    # parameters can be read while the previous kernel still runs
    P_h = matrix_p(P, gate, K, Z, BLOCK_Q, BLOCK_Z)
    P_x = matrix_p(P, 4 + gate, K, Z, BLOCK_Q, BLOCK_Z)
    P_b = matrix_p(P, 8 + gate, K, Z, BLOCK_Q, BLOCK_Z)
    p_h = load(p, gate * Z + e, e < Z)
    p_x = load(p, (4 + gate) * Z + e, e < Z)
    norm = load_norm(hyper_gain, hyper_shift, hyper_cell_gain, hyper_cell_shift, k, ok, K)
    follow(PDL)
    n = (row + b).to(tl.int64)
    i, f, g, o = load_gates(hyper_pre + n * (4 * K), k, ok, K)
    here = b * K + k
    c = load_before(saved_hyper_c, hyper_c0, before_row, before_rows, b, k, ok, K)
    writes = gate == 0
    h, c = cell(
        i,
        f,
        g,
        o,
        c,
        1.0,
        norm,
        ok,
        hyper_stats,
        n,
        writes,
        hyper_gain is not None,
        K,
        eps,
    )
    # z_a^y = P_a^y ĥ_t + p_a^y
    saved_z += n * (12 * Z) + gate * Z + e
    tl.store(saved_z, tl.sum(P_h * h[None, :], 1) + p_h, mask=e < Z)
    tl.store(saved_z + 4 * Z, tl.sum(P_x * h[None, :], 1) + p_x, mask=e < Z)
    tl.store(saved_z + 8 * Z, tl.sum(P_b * h[None, :], 1), mask=e < Z)
    store(hyper_h, here, h, ok & writes)
    store(hyper_c, here, c, ok & writes)
    store(saved_hyper_c, n * K + k, c, ok & writes)
    if saved_hyper_h is not None:
        store(saved_hyper_h, n * K + k, h, ok & writes)


@triton.jit(do_not_specialize=["row", "before_row", "before_rows", "after_rows", "batch"])
def hyper_backward(
    partial_z,
    partial_hyper_h,
    recurrent,
    grad_hyper_h,
    grad_hyper_c,
    hyper_pre,
    hyper_stats,
    saved_hyper_c,
    hyper_c0,
    hyper_gain,
    hyper_shift,
    hyper_cell_gain,
    hyper_cell_shift,
    grad_z,
    grad_wx,
    grad_wh,
    grad_normed,
    grad_cell_normed,
    row,
    before_row,
    before_rows,
    after_rows,
    batch,
    H: tl.constexpr,
    K: tl.constexpr,
    Z: tl.constexpr,
    CHUNKS: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    PDL: tl.constexpr,
):
    """The gradients of z and of the hyper cell's pre-activations. One program for each row."""
    follow(PDL)
    b = tl.program_id(0)
    n = (row + b).to(tl.int64)
    k = tl.arange(0, BLOCK_Q)
    ok = k < K
    here = b * K + k
    i, f, g, o = load_gates(hyper_pre + n * (4 * K), k, ok, K)
    e = tl.arange(0, BLOCK_E)
    chunk = tl.arange(0, BLOCK_P // 4)
    parts = (chunk[:, None] * batch + b) * (12 * Z) + e[None, :]
    parts_ok = (chunk < CHUNKS)[:, None] & (e < 12 * Z)[None, :]
    store(grad_z, n * (12 * Z) + e, tl.sum(load(partial_z, parts, parts_ok), 0), e < 12 * Z)
    part = tl.arange(0, BLOCK_P)
    parts = (part[:, None] * batch + b) * K + k[None, :]
    dh = tl.sum(load(partial_hyper_h, parts, (part < 4 * CHUNKS)[:, None] & ok[None, :]), 0)
    dh += load(recurrent, here, ok & (b < after_rows)) + load(grad_hyper_h, here, ok & (b >= after_rows))
    c_before = load_before(saved_hyper_c, hyper_c0, before_row, before_rows, b, k, ok, K)
    grad_i, grad_f, grad_g, grad_o, dc = cell_gradients(
        dh,
        load(grad_hyper_c, here, ok),
        load(saved_hyper_c, n * K + k, ok),
        c_before,
        1.0,
        i,
        f,
        g,
        o,
        load_norm(hyper_gain, hyper_shift, hyper_cell_gain, hyper_cell_shift, k, ok, K),
        hyper_stats,
        grad_normed,
        grad_cell_normed,
        n,
        k,
        ok,
        hyper_gain is not None,
        K,
    )
    store(grad_hyper_c, here, dc, ok)
    # the hyper cell adds its products on x and h, so both buffers get its gradients
    to = n * (4 * H + 4 * K) + 4 * H + k
    for buffer in tl.static_range(2):
        grads = grad_wx if buffer == 0 else grad_wh
        store_gates(grads, to, grad_i, grad_f, grad_g, grad_o, ok, K)
