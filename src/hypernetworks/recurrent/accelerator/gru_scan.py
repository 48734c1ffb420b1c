"""The GRU's time loop within a kernel. One program computes all steps of BLOCK_M rows of the batch, as in lstm_scan.py.

Equations, names and `stats` are those of gru_cell.py.
"""

# its types do not cover what kernels return
# pyright: reportGeneralTypeIssues=false

import triton
import triton.language as tl

from .gru_cell import gru, gru_gradients, load_norm, load_three, store_three
from .parts import load, load_before, load_mask, rounded, step_neighbours, step_rows, store
from .products import dot_columns, dot_rows


@triton.jit(do_not_specialize=["steps", "batch"])
def gru_scan_forward(
    wx,
    weight_h,
    bias_h,
    h,
    mask,
    gain,
    shift,
    pre,
    wh,
    output,
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
    """All h_t. h (B, H) holds the initial state before, and the final state after."""
    r = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    b = r[:, None]
    column = tl.arange(0, BLOCK_H)
    column_ok = column < H
    j, j_ok = column[None, :], column_ok[None, :]
    here = b * H + j
    norm = load_norm(gain, shift, j, j_ok, H)
    h_t = load(h, here, (b < batch) & j_ok)
    for t in range(steps):
        row, r_ok, own = step_rows(places, t, r)
        ok = r_ok[:, None] & j_ok
        n = row + own[:, None]
        x_n = wx + n * (3 * H)
        # pre^y = W^y x_t + b^y + U^y h_{t-1} of r and u, and U_n h_{t-1}, rounded here as the backward pass reads them
        pre_r, pre_u = load(x_n, j, ok), load(x_n, H + j, ok)
        wh_n = tl.zeros((BLOCK_M, BLOCK_H), tl.float32)
        pre_r = rounded(dot_rows(pre_r, h, weight_h, r, r_ok, column, column_ok, H, H, BLOCK_K, PRECISION), wx)
        pre_u = rounded(dot_rows(pre_u, h, weight_h, r, r_ok, H + column, column_ok, H, H, BLOCK_K, PRECISION), wx)
        wh_n = rounded(dot_rows(wh_n, h, weight_h, r, r_ok, 2 * H + column, column_ok, H, H, BLOCK_K, PRECISION), wx)
        n_h = wh_n
        if bias_h is not None:
            n_h += load(bias_h, j, j_ok)
        h_next, pre_n = gru(
            pre_r,
            pre_u,
            load(x_n, 2 * H + j, ok),
            n_h,
            h_t,
            load_mask(mask, n * H + j, ok),
            norm,
            ok,
            stats,
            n,
            r_ok[:, None],
            wx,
            gain is not None,
            H,
            eps,
        )
        # rounded as the products of the next step read it
        h_t = tl.where(ok, rounded(h_next, h), h_t)
        store(output, n * H + j, h_t, ok)
        if SAVE:
            store_three(pre + n * (3 * H), j, pre_r, pre_u, pre_n, ok, H)
            store(wh, n * H + j, wh_n, ok)
        tl.debug_barrier()  # all threads have read h_{t-1}
        store(h, here, h_t, ok)
        tl.debug_barrier()  # h_t is there for all threads


@triton.jit(do_not_specialize=["steps", "batch"])
def gru_scan_backward(
    grad_output,
    grad_h,
    partial_h,
    weight_h,
    bias_h,
    pre,
    wh,
    stats,
    output,
    h0,
    mask,
    gain,
    shift,
    grad_wx,
    grad_wh,
    grad_normed,
    places,
    steps,
    batch,
    H: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The gradients of all W x (grad_wx) and U h (grad_wh), and of h_0: in grad_h, and its products' share in partial_h.

    grad_h holds the gradient of the final state before.
    """
    r = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    b = r[:, None]
    column = tl.arange(0, BLOCK_H)
    column_ok = column < H
    j, j_ok = column[None, :], column_ok[None, :]
    here = b * H + j
    in_batch = (b < batch) & j_ok
    # the gradient of h_t: as far as it comes from products, and the rest
    dh_product = tl.zeros((BLOCK_M, BLOCK_H), tl.float32)
    dh_direct = load(grad_h, here, in_batch)
    for back in range(steps):
        t = steps - 1 - back
        row, r_ok, own = step_rows(places, t, r)
        before_row, before_rows, _ = step_neighbours(places, t)
        ok = r_ok[:, None] & j_ok
        n = row + own[:, None]
        n_h = load(wh, n * H + j, ok)
        if bias_h is not None:
            n_h += load(bias_h, j, j_ok)
        pre_r, pre_u, pre_n = load_three(pre + n * (3 * H), j, ok, H)
        # the products' share is zero for rows that the step after this one does not have
        grad_r, grad_u, grad_n, grad_n_h, dh_before = gru_gradients(
            load(grad_output, n * H + j, ok) + dh_direct + dh_product,
            load_before(output, h0, before_row, before_rows, own[:, None], j, ok, H),
            pre_r,
            pre_u,
            pre_n,
            n_h,
            load_mask(mask, n * H + j, ok),
            load_norm(gain, shift, j, j_ok, H),
            stats,
            grad_normed,
            n,
            j,
            ok,
            gain is not None,
            H,
        )
        dh_direct = tl.where(ok, dh_before, dh_direct)
        store_three(grad_wx + n * (3 * H), j, grad_r, grad_u, grad_n, ok, H)
        store_three(grad_wh + n * (3 * H), j, grad_r, grad_u, grad_n_h, ok, H)
        tl.debug_barrier()  # the gradients are there for all threads
        # U_rᵀ dpre^r + U_uᵀ dpre^u + U_nᵀ d(U_n h)
        acc = tl.zeros((BLOCK_M, BLOCK_H), tl.float32)
        of_step = grad_wh + row * (3 * H)
        acc = dot_columns(acc, of_step, weight_h, r, r_ok, column, column_ok, 3 * H, H, 3 * H, BLOCK_K, PRECISION)
        dh_product = tl.where(r_ok[:, None], acc, dh_product)
    store(partial_h, here, dh_product, in_batch)
    store(grad_h, here, dh_direct, in_batch)
