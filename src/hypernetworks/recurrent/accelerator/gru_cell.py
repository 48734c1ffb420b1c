"""The GRU cell after its products, forward and backward. One program of the kernels computes one row of a step.

    r, u = σ(LN(pre^r)), σ(LN(pre^u))                              pre = W x_t + b + U h_{t-1}
    n    = tanh(LN_n(pre^n)),   pre^n = W_n x_t + b_n + r ⊙ (U_n h_{t-1} + b_h)
    h_t  = n' + u ⊙ (h_{t-1} − n'),   n' = drop(n)

stats (N, 6) holds mean and 1/σ of r, u and n.
"""

# its types do not cover what kernels return
# pyright: reportGeneralTypeIssues=false

import triton
import triton.language as tl

from .parts import follow, load, load_before, load_mask, norm_backward, normalise, normed_again, rounded, store, tanh


@triton.jit
def load_three(tensor, j, ok, SIZE: tl.constexpr):
    """The blocks of r, u and n in a row, or zeros where there is no tensor."""
    if tensor is not None:
        r, u, n = load(tensor, j, ok), load(tensor, SIZE + j, ok), load(tensor, 2 * SIZE + j, ok)
    else:
        r, u, n = 0.0, 0.0, 0.0
    return r, u, n


@triton.jit
def store_three(tensor, j, r, u, n, ok, SIZE: tl.constexpr):
    """Store the blocks of r, u and n of a row."""
    store(tensor, j, r, ok)
    store(tensor, SIZE + j, u, ok)
    store(tensor, 2 * SIZE + j, n, ok)


@triton.jit
def load_norm(gain, shift, j, ok, SIZE: tl.constexpr):
    """Gains of r, u and n, then their shifts; zeros where there is no norm."""
    gain_r, gain_u, gain_n = load_three(gain, j, ok, SIZE)
    shift_r, shift_u, shift_n = load_three(shift, j, ok, SIZE)
    return gain_r, gain_u, gain_n, shift_r, shift_u, shift_n


@triton.jit
def gru(
    r,
    u,
    n_x,
    n_h,
    h,
    drop,
    norm,
    ok,
    stats,
    row,
    writes,
    like,
    NORM: tl.constexpr,
    SIZE: tl.constexpr,
    eps,
):
    """h_t and pre^n from pre^r, pre^u, W_n x_t + b_n (n_x), U_n h_{t-1} + b_h (n_h) and h_{t-1}.

    Of a row or of a tile of rows. pre^n is rounded as `like` stores it.
    """
    gain_r, gain_u, gain_n, shift_r, shift_u, shift_n = norm
    if NORM:
        r = normalise(r, ok, stats, row * 6, writes, 0, SIZE, eps) * gain_r + shift_r
        u = normalise(u, ok, stats, row * 6, writes, 2, SIZE, eps) * gain_u + shift_u
    # pre^n = W_n x_t + b_n + r ⊙ (U_n h_{t-1} + b_h), rounded here as the backward pass reads it
    pre_n = rounded(n_x + tl.sigmoid(r) * n_h, like)
    n = pre_n
    if NORM:
        n = normalise(n, ok, stats, row * 6, writes, 4, SIZE, eps) * gain_n + shift_n
    n = tanh(n) * drop
    # h_t = n' + u ⊙ (h_{t-1} − n')
    return n + tl.sigmoid(u) * (h - n), pre_n


@triton.jit(do_not_specialize=["x_row", "row"])
def gru_forward(
    pre,
    wh,
    wx,
    bias_h,
    h,
    mask,
    gain,
    shift,
    output,
    stats,
    x_row,
    row,
    eps,
    H: tl.constexpr,
    BLOCK_H: tl.constexpr,
    SAVE: tl.constexpr,
    PDL: tl.constexpr,
):
    """h_t from pre^r and pre^u, W_n x_t + b_n (in wx) and U_n h_{t-1} (wh). h (B, H) is the running state."""
    follow(PDL)
    b = tl.program_id(0)
    j = tl.arange(0, BLOCK_H)
    ok = j < H
    x_n = (x_row + b).to(tl.int64)
    row_n = (row + b).to(tl.int64)
    pre += row_n * (3 * H)
    # all loads come first: none of them waits for a sum over the row
    r, u = load(pre, j, ok), load(pre, H + j, ok)
    n_h = load(wh, row_n * H + j, ok)
    n_x = load(wx, x_n * (3 * H) + 2 * H + j, ok)
    h_before = load(h, b * H + j, ok)
    if bias_h is not None:
        n_h += load(bias_h, j, ok)
    norm = load_norm(gain, shift, j, ok, H)
    drop = load_mask(mask, x_n * H + j, ok)
    h_t, n = gru(
        r,
        u,
        n_x,
        n_h,
        h_before,
        drop,
        norm,
        ok,
        stats,
        row_n,
        True,
        pre,
        gain is not None,
        H,
        eps,
    )
    if SAVE:
        store(pre, 2 * H + j, n, ok)
    store(h, b * H + j, h_t, ok)
    store(output, x_n * H + j, h_t, ok)


@triton.jit
def gru_gradients(
    grad_h,
    h,
    r,
    u,
    n,
    n_h,
    drop,
    norm,
    stats,
    grad_normed,
    row,
    j,
    ok,
    NORM: tl.constexpr,
    SIZE: tl.constexpr,
):
    """The gradients of pre^r, pre^u, pre^n, U_n h_{t-1} and of h_{t-1} without the products, from that of h_t.

    r, u, n come in as pre^y, n_h as U_n h_{t-1} + b_h, h as h_{t-1}. Of a row or of a tile of rows, in columns j. Where there
    is a norm, the gradients of its results are stored for those of gain and shift.
    """
    gain_r, gain_u, gain_n, shift_r, shift_u, shift_n = norm
    if NORM:
        normed_r, inverse_r = normed_again(r, ok, stats, row * 6, 0)
        normed_u, inverse_u = normed_again(u, ok, stats, row * 6, 2)
        normed_n, inverse_n = normed_again(n, ok, stats, row * 6, 4)
        r, u = normed_r * gain_r + shift_r, normed_u * gain_u + shift_u
        n = normed_n * gain_n + shift_n
    r, u, n = tl.sigmoid(r), tl.sigmoid(u), tanh(n)
    # h_t = n' + u ⊙ (h_{t-1} − n'),   n' = drop(n)
    grad_u = grad_h * (h - n * drop) * u * (1.0 - u)
    grad_n = grad_h * (1.0 - u) * drop * (1.0 - n * n)
    if NORM:
        store(grad_normed, row * (3 * SIZE) + SIZE + j, grad_u, ok)
        store(grad_normed, row * (3 * SIZE) + 2 * SIZE + j, grad_n, ok)
        grad_u = norm_backward(grad_u, normed_u, inverse_u, gain_u, SIZE)
        grad_n = norm_backward(grad_n, normed_n, inverse_n, gain_n, SIZE)
    # pre^n = W_n x_t + b_n + r ⊙ (U_n h_{t-1} + b_h)
    grad_r = grad_n * n_h * r * (1.0 - r)
    if NORM:
        store(grad_normed, row * (3 * SIZE) + j, grad_r, ok)
        grad_r = norm_backward(grad_r, normed_r, inverse_r, gain_r, SIZE)
    return grad_r, grad_u, grad_n, grad_n * r, grad_h * u


@triton.jit(do_not_specialize=["row", "before_row", "before_rows", "after_rows", "batch"])
def gru_backward(
    grad_output,
    partial_h,
    grad_h,
    pre,
    wh,
    bias_h,
    stats,
    output,
    h0,
    mask,
    gain,
    shift,
    grad_wx,
    grad_wh,
    grad_normed,
    row,
    before_row,
    before_rows,
    after_rows,
    batch,
    H: tl.constexpr,
    BLOCK_H: tl.constexpr,
    PDL: tl.constexpr,
):
    """The gradients of W x and U h from that of h_t.

    grad_h (B, H) is the running gradient of h as far as it does not come from a product: that of the final state at first,
    then u ⊙ the gradient of h_t.
    """
    follow(PDL)
    b = tl.program_id(0)
    j = tl.arange(0, BLOCK_H)
    ok = j < H
    row_n = (row + b).to(tl.int64)
    here = b * H + j
    dh = load(grad_output, row_n * H + j, ok) + load(grad_h, here, ok)
    # the rows of the step after this one have made the products' share of the gradient of h_t; for the others there is none
    for part in tl.static_range(3):
        dh += load(partial_h, part * batch * H + here, ok & (b < after_rows))
    h_before = load_before(output, h0, before_row, before_rows, b, j, ok, H)
    r, u, n = load_three(pre + row_n * (3 * H), j, ok, H)
    n_h = load(wh, row_n * H + j, ok)
    if bias_h is not None:
        n_h += load(bias_h, j, ok)
    drop = load_mask(mask, row_n * H + j, ok)
    grad_r, grad_u, grad_n, grad_n_h, dh_direct = gru_gradients(
        dh,
        h_before,
        r,
        u,
        n,
        n_h,
        drop,
        load_norm(gain, shift, j, ok, H),
        stats,
        grad_normed,
        row_n,
        j,
        ok,
        gain is not None,
        H,
    )
    store(grad_h, here, dh_direct, ok)
    store_three(grad_wx + row_n * (3 * H), j, grad_r, grad_u, grad_n, ok, H)
    store_three(grad_wh + row_n * (3 * H), j, grad_r, grad_u, grad_n_h, ok, H)
