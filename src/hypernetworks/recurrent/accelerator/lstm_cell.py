"""The LSTM cell after its products, forward and backward. One program of the kernels computes one row of a step.

    c_t = σ(f) ⊙ c_{t-1} + σ(i) ⊙ drop(tanh g),   h_t = σ(o) ⊙ tanh(LN_c(c_t))     with i, f, g, o = LN_y(pre^y)

A row fits into the registers of one program, so a layer norm needs no other program.

stats (N, 10) holds mean and 1/σ of i, f, g, o and c.
"""

# its types do not cover what kernels return
# pyright: reportGeneralTypeIssues=false

import triton
import triton.language as tl

from .parts import follow, load, load_before, load_mask, norm_backward, normalise, normed_again, store, tanh


@triton.jit
def load_gates(tensor, j, ok, SIZE: tl.constexpr):
    """The blocks of i, f, g and o in a row, or zeros where there is no tensor."""
    if tensor is not None:
        i, f = load(tensor, j, ok), load(tensor, SIZE + j, ok)
        g, o = load(tensor, 2 * SIZE + j, ok), load(tensor, 3 * SIZE + j, ok)
    else:
        i, f, g, o = 0.0, 0.0, 0.0, 0.0
    return i, f, g, o


@triton.jit
def store_gates(tensor, j, i, f, g, o, ok, SIZE: tl.constexpr):
    """Store the blocks of i, f, g and o of a row."""
    store(tensor, j, i, ok)
    store(tensor, SIZE + j, f, ok)
    store(tensor, 2 * SIZE + j, g, ok)
    store(tensor, 3 * SIZE + j, o, ok)


@triton.jit
def load_norm(gain, shift, cell_gain, cell_shift, j, ok, SIZE: tl.constexpr):
    """Gains of i, f, g, o and c, then their shifts; zeros where there is no norm."""
    gain_i, gain_f, gain_g, gain_o = load_gates(gain, j, ok, SIZE)
    shift_i, shift_f, shift_g, shift_o = load_gates(shift, j, ok, SIZE)
    if cell_gain is not None:
        gain_c, shift_c = load(cell_gain, j, ok), load(cell_shift, j, ok)
    else:
        gain_c, shift_c = 0.0, 0.0
    return gain_i, gain_f, gain_g, gain_o, gain_c, shift_i, shift_f, shift_g, shift_o, shift_c


@triton.jit
def cell(
    i,
    f,
    g,
    o,
    c,
    drop,
    norm,
    ok,
    stats,
    n,
    writes,
    NORM: tl.constexpr,
    SIZE: tl.constexpr,
    eps,
):
    """h_t and c_t from pre^i, pre^f, pre^g, pre^o and c_{t-1}, of a row n or a tile of rows; norm is that of `load_norm`."""
    gain_i, gain_f, gain_g, gain_o, gain_c, shift_i, shift_f, shift_g, shift_o, shift_c = norm
    if NORM:
        # pre^y = LN_y(pre^y)
        i = normalise(i, ok, stats, n * 10, writes, 0, SIZE, eps) * gain_i + shift_i
        f = normalise(f, ok, stats, n * 10, writes, 2, SIZE, eps) * gain_f + shift_f
        g = normalise(g, ok, stats, n * 10, writes, 4, SIZE, eps) * gain_g + shift_g
        o = normalise(o, ok, stats, n * 10, writes, 6, SIZE, eps) * gain_o + shift_o
    # c_t = σ(f) ⊙ c_{t-1} + σ(i) ⊙ drop(tanh g)
    c = tl.where(ok, tl.sigmoid(f) * c + tl.sigmoid(i) * (tanh(g) * drop), 0.0)
    # h_t = σ(o) ⊙ tanh(LN_c(c_t))
    normed = c
    if NORM:
        normed = normalise(c, ok, stats, n * 10, writes, 8, SIZE, eps) * gain_c + shift_c
    return tl.where(ok, tl.sigmoid(o) * tanh(normed), 0.0), c


@triton.jit(do_not_specialize=["x_row", "row"])
def cell_forward(
    pre,
    h,
    c,
    mask,
    gain,
    shift,
    cell_gain,
    cell_shift,
    output,
    saved_c,
    stats,
    x_row,
    row,
    eps,
    H: tl.constexpr,
    BLOCK_H: tl.constexpr,
    PDL: tl.constexpr,
):
    """h_t and c_t from the pre-activations of the gates. h (B, H) and c (B, H) are the running state."""
    follow(PDL)
    b = tl.program_id(0)
    j = tl.arange(0, BLOCK_H)
    ok = j < H
    x_n = (x_row + b).to(tl.int64)
    n = (row + b).to(tl.int64)
    # all loads come first: none of them waits for a sum over the row
    i, f, g, o = load_gates(pre + n * (4 * H), j, ok, H)
    norm = load_norm(gain, shift, cell_gain, cell_shift, j, ok, H)
    c_t = load(c, b * H + j, ok)
    drop = load_mask(mask, x_n * H + j, ok)
    h_t, c_t = cell(
        i,
        f,
        g,
        o,
        c_t,
        drop,
        norm,
        ok,
        stats,
        n,
        True,
        gain is not None,
        H,
        eps,
    )
    store(c, b * H + j, c_t, ok)
    if saved_c is not None:
        store(saved_c, n * H + j, c_t, ok)
    store(h, b * H + j, h_t, ok)
    store(output, x_n * H + j, h_t, ok)


@triton.jit
def cell_gradients(
    grad_h,
    grad_c,
    c,
    c_before,
    drop,
    i,
    f,
    g,
    o,
    norm,
    stats,
    grad_normed,
    grad_cell_normed,
    n,
    j,
    ok,
    NORM: tl.constexpr,
    SIZE: tl.constexpr,
):
    """The gradients of pre^i, pre^f, pre^g, pre^o and of c_{t-1}, from those of h_t and c_t; i, f, g, o come in as pre^y.

    Of a row n or of a tile of rows, in columns j. Where there is a norm, the gradients of its results are stored for those of
    gain and shift.
    """
    gain_i, gain_f, gain_g, gain_o, gain_c, shift_i, shift_f, shift_g, shift_o, shift_c = norm
    if NORM:
        normed_i, inverse_i = normed_again(i, ok, stats, n * 10, 0)
        normed_f, inverse_f = normed_again(f, ok, stats, n * 10, 2)
        normed_g, inverse_g = normed_again(g, ok, stats, n * 10, 4)
        normed_o, inverse_o = normed_again(o, ok, stats, n * 10, 6)
        normed_c, inverse_c = normed_again(c, ok, stats, n * 10, 8)
        i, f = normed_i * gain_i + shift_i, normed_f * gain_f + shift_f
        g, o = normed_g * gain_g + shift_g, normed_o * gain_o + shift_o
        c = normed_c * gain_c + shift_c
    i, f, g, o, t = tl.sigmoid(i), tl.sigmoid(f), tanh(g), tl.sigmoid(o), tanh(c)
    # h_t = σ(o) ⊙ tanh(LN_c(c_t))
    grad = grad_h * o * (1.0 - t * t)
    if NORM:
        store(grad_cell_normed, n * SIZE + j, grad, ok)
        grad = norm_backward(grad, normed_c, inverse_c, gain_c, SIZE)
    grad_c = tl.where(ok, grad_c + grad, 0.0)
    # c_t = σ(f) ⊙ c_{t-1} + σ(i) ⊙ drop(tanh g)
    grad_i = grad_c * drop * g * i * (1.0 - i)
    grad_f = grad_c * c_before * f * (1.0 - f)
    grad_g = grad_c * drop * i * (1.0 - g * g)
    grad_o = grad_h * t * o * (1.0 - o)
    if NORM:
        store_gates(grad_normed, n * (4 * SIZE) + j, grad_i, grad_f, grad_g, grad_o, ok, SIZE)
        grad_i = norm_backward(grad_i, normed_i, inverse_i, gain_i, SIZE)
        grad_f = norm_backward(grad_f, normed_f, inverse_f, gain_f, SIZE)
        grad_g = norm_backward(grad_g, normed_g, inverse_g, gain_g, SIZE)
        grad_o = norm_backward(grad_o, normed_o, inverse_o, gain_o, SIZE)
    return grad_i, grad_f, grad_g, grad_o, grad_c * f


@triton.jit(do_not_specialize=["row", "before_row", "before_rows", "after_rows", "batch"])
def cell_backward(
    grad_output,
    partial_h,
    grad_h,
    grad_c,
    pre,
    stats,
    saved_c,
    c0,
    mask,
    gain,
    shift,
    cell_gain,
    cell_shift,
    grad_pre,
    grad_normed,
    grad_cell_normed,
    row,
    before_row,
    before_rows,
    after_rows,
    batch,
    H: tl.constexpr,
    STRIDE: tl.constexpr,
    PARTS: tl.constexpr,
    BLOCK_H: tl.constexpr,
    PDL: tl.constexpr,
):
    """The gradients of the gates' pre-activations, from those of h_t and c_t; grad_c (B, H) is the running gradient of c."""
    follow(PDL)
    b = tl.program_id(0)
    j = tl.arange(0, BLOCK_H)
    ok = j < H
    n = (row + b).to(tl.int64)
    here = b * H + j
    # the rows of the step after this one have made their share of the gradient of h_t; for the others h_t is the last
    continued = ok & (b < after_rows)
    dh = load(grad_output, n * H + j, ok) + load(grad_h, here, ok & (b >= after_rows))
    for part in tl.static_range(PARTS):
        dh += load(partial_h, part * batch * H + here, continued)
    c = load(saved_c, n * H + j, ok)
    c_before = load_before(saved_c, c0, before_row, before_rows, b, j, ok, H)
    i, f, g, o = load_gates(pre + n * (4 * H), j, ok, H)
    drop = load_mask(mask, n * H + j, ok)
    norm = load_norm(gain, shift, cell_gain, cell_shift, j, ok, H)
    grad_i, grad_f, grad_g, grad_o, dc = cell_gradients(
        dh,
        load(grad_c, here, ok),
        c,
        c_before,
        drop,
        i,
        f,
        g,
        o,
        norm,
        stats,
        grad_normed,
        grad_cell_normed,
        n,
        j,
        ok,
        gain is not None,
        H,
    )
    store(grad_c, here, dc, ok)
    store_gates(grad_pre + n * STRIDE, j, grad_i, grad_f, grad_g, grad_o, ok, H)
