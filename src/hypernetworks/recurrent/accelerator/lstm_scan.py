"""The LSTM's time loop within a kernel. One program computes all steps of BLOCK_M rows of the batch.

The rows do not depend on each other, so programs need not wait for one another. The steps of a program exchange h through
memory, and backward the gradients of the products: a barrier divides what its threads write from what they read.

places (T, 5) holds the `shape.Step` of each step, in the order of the computation. Equations, names and `stats` are those of
lstm_cell.py.
"""

# its types do not cover what kernels return
# pyright: reportGeneralTypeIssues=false

import triton
import triton.language as tl

from .lstm_cell import cell, cell_gradients, load_gates, load_norm, store_gates
from .parts import load, load_before, load_mask, rounded, step_neighbours, step_rows, store
from .products import dot_columns, dot_rows


@triton.jit(do_not_specialize=["steps", "batch"])
def lstm_scan_forward(
    wx,
    weight_h,
    h,
    c,
    mask,
    gain,
    shift,
    cell_gain,
    cell_shift,
    pre,
    output,
    saved_c,
    stats,
    places,
    steps,
    batch,
    eps,
    H: tl.constexpr,
    SAVE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """All h_t and c_t. h (B, H) and c (B, H) hold the initial state before, and the final state after."""
    r = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    b = r[:, None]
    column = tl.arange(0, BLOCK_H)
    column_ok = column < H
    j, j_ok = column[None, :], column_ok[None, :]
    norm = load_norm(gain, shift, cell_gain, cell_shift, j, j_ok, H)
    here = b * H + j
    in_batch = (b < batch) & j_ok
    c_t = load(c, here, in_batch)
    for t in range(steps):
        row, r_ok, own = step_rows(places, t, r)
        ok = r_ok[:, None] & j_ok
        n = row + own[:, None]
        i, f, g, o = load_gates(wx + n * (4 * H), j, ok, H)
        # pre^y = W_x^y x_t + b^y + W_h^y h_{t-1}, rounded here as the backward pass reads it
        i = rounded(dot_rows(i, h, weight_h, r, r_ok, column, column_ok, H, H, BLOCK_K, PRECISION), wx)
        f = rounded(dot_rows(f, h, weight_h, r, r_ok, H + column, column_ok, H, H, BLOCK_K, PRECISION), wx)
        g = rounded(dot_rows(g, h, weight_h, r, r_ok, 2 * H + column, column_ok, H, H, BLOCK_K, PRECISION), wx)
        o = rounded(dot_rows(o, h, weight_h, r, r_ok, 3 * H + column, column_ok, H, H, BLOCK_K, PRECISION), wx)
        h_t, c_next = cell(
            i,
            f,
            g,
            o,
            c_t,
            load_mask(mask, n * H + j, ok),
            norm,
            ok,
            stats,
            n,
            r_ok[:, None],
            gain is not None,
            H,
            eps,
        )
        c_t = tl.where(ok, c_next, c_t)
        store(output, n * H + j, h_t, ok)
        if SAVE:
            store_gates(pre + n * (4 * H), j, i, f, g, o, ok, H)
            store(saved_c, n * H + j, c_t, ok)
        tl.debug_barrier()  # all threads have read h_{t-1}
        store(h, here, h_t, ok)
        tl.debug_barrier()  # h_t is there for all threads
    store(c, here, c_t, in_batch)


@triton.jit(do_not_specialize=["steps"])
def lstm_scan_backward(
    grad_output,
    grad_h,
    grad_c,
    partial_h,
    weight_h,
    pre,
    stats,
    saved_c,
    c0,
    mask,
    gain,
    shift,
    cell_gain,
    cell_shift,
    grad_wh,
    grad_normed,
    grad_cell_normed,
    places,
    steps,
    H: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The gradients of all pre^y (grad_wh), of c_0 (grad_c) and, as far as it comes from products, of h_0 (partial_h).

    grad_h and grad_c hold the gradients of the final state before.
    """
    r = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    b = r[:, None]
    column = tl.arange(0, BLOCK_H)
    column_ok = column < H
    j, j_ok = column[None, :], column_ok[None, :]
    here = b * H + j
    for back in range(steps):
        t = steps - 1 - back
        row, r_ok, own = step_rows(places, t, r)
        before_row, before_rows, after_rows = step_neighbours(places, t)
        ok = r_ok[:, None] & j_ok
        n = row + own[:, None]
        # the rows of the step after this one have made their share of the gradient of h_t; for the others h_t is the last.
        # It and the gradient of c_t are kept in memory: in registers, float32 would spill
        continued = b < after_rows
        dh = load(grad_output, n * H + j, ok) + load(grad_h, here, ok & (b >= after_rows))
        dh += load(partial_h, here, ok & continued)
        i, f, g, o = load_gates(pre + n * (4 * H), j, ok, H)
        grad_i, grad_f, grad_g, grad_o, dc_before = cell_gradients(
            dh,
            load(grad_c, here, ok),
            load(saved_c, n * H + j, ok),
            load_before(saved_c, c0, before_row, before_rows, own[:, None], j, ok, H),
            load_mask(mask, n * H + j, ok),
            i,
            f,
            g,
            o,
            load_norm(gain, shift, cell_gain, cell_shift, j, j_ok, H),
            stats,
            grad_normed,
            grad_cell_normed,
            n,
            j,
            ok,
            gain is not None,
            H,
        )
        store(grad_c, here, dc_before, ok)
        store_gates(grad_wh + n * (4 * H), j, grad_i, grad_f, grad_g, grad_o, ok, H)
        tl.debug_barrier()  # the gradients are there for all threads
        # dh_{t-1} = W_hᵀ dpre
        acc = tl.zeros((BLOCK_M, BLOCK_H), tl.float32)
        of_step = grad_wh + row * (4 * H)
        acc = dot_columns(acc, of_step, weight_h, r, r_ok, column, column_ok, 4 * H, H, 4 * H, BLOCK_K, PRECISION)
        store(partial_h, here, acc, ok)
        tl.debug_barrier()  # dh_{t-1} is there for all threads
