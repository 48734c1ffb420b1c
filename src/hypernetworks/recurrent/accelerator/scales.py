"""What the hyper cell does to the main cell's gates, forward and backward.

    d_a^y = D_a^y z_a^y
    pre^y = d_h^y ⊙ W_h^y h_{t-1} + d_x^y ⊙ W_x^y x_t + d_b^y + b^y

D (12, H, Z): blocks in the order h, x, b, and in each the gates i, f, g, o.
"""

import triton
import triton.language as tl

from .hyper_cell import matrix_p
from .parts import follow, load, store


@triton.jit
def matrix_d(D, block, j, j_ok, H: tl.constexpr, Z: tl.constexpr, BLOCK_Z: tl.constexpr):
    """Rows j of D of one block, (columns, Z)."""
    e = tl.arange(0, BLOCK_Z)
    return load(D, (block * H + j)[:, None] * Z + e[None, :], j_ok[:, None] & (e < Z)[None, :])


@triton.jit
def load_z(saved_z, n, r_ok, block, Z: tl.constexpr, BLOCK_Z: tl.constexpr):
    """z of one block, (rows, Z)."""
    e = tl.arange(0, BLOCK_Z)
    return load(saved_z, n[:, None] * (12 * Z) + (block * Z + e)[None, :], r_ok[:, None] & (e < Z)[None, :])


@triton.jit
def scale(z_h, z_x, z_b, D_h, D_x, D_b, wh, wx, PRECISION: tl.constexpr):
    """pre^y without b^y, (rows, columns)."""
    # d_a^y = D_a^y z_a^y
    d_h = tl.dot(z_h, tl.trans(D_h), input_precision=PRECISION)
    d_x = tl.dot(z_x, tl.trans(D_x), input_precision=PRECISION)
    d_b = tl.dot(z_b, tl.trans(D_b), input_precision=PRECISION)
    # pre^y = d_h^y ⊙ W_h^y h_{t-1} + d_x^y ⊙ W_x^y x_t + d_b^y + b^y
    return d_h * wh + d_x * wx + d_b


@triton.jit(do_not_specialize=["x_row", "row", "rows"])
def scales_forward(
    saved_z,
    D,
    bias,
    wx,
    wh,
    pre,
    x_row,
    row,
    rows,
    H: tl.constexpr,
    Z: tl.constexpr,
    WX_STRIDE: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_Z: tl.constexpr,
    PRECISION: tl.constexpr,
    PDL: tl.constexpr,
):
    """pre^y of some rows and columns of one gate."""
    r = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    gate = tl.program_id(1)
    r_ok = r < rows
    n = (row + r).to(tl.int64)
    j = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)
    j_ok = j < H
    ok = r_ok[:, None] & j_ok[None, :]
    column = (gate * H + j)[None, :]
    # parameters and products on x can be read while the previous kernel still runs
    D_h = matrix_d(D, gate, j, j_ok, H, Z, BLOCK_Z)
    D_x = matrix_d(D, 4 + gate, j, j_ok, H, Z, BLOCK_Z)
    D_b = matrix_d(D, 8 + gate, j, j_ok, H, Z, BLOCK_Z)
    b = load(bias, gate * H + j, j_ok)[None, :]
    main_wx = load(wx, (x_row + r).to(tl.int64)[:, None] * WX_STRIDE + column, ok)
    follow(PDL)
    z_h = load_z(saved_z, n, r_ok, gate, Z, BLOCK_Z)
    z_x = load_z(saved_z, n, r_ok, 4 + gate, Z, BLOCK_Z)
    z_b = load_z(saved_z, n, r_ok, 8 + gate, Z, BLOCK_Z)
    main_wh = load(wh, n[:, None] * (4 * H) + column, ok)
    scaled = scale(z_h, z_x, z_b, D_h, D_x, D_b, main_wh, main_wx, PRECISION) + b
    store(pre, n[:, None] * (4 * H) + column, scaled, ok)


@triton.jit
def _store_part(partial_z, part, r, r_ok, first, block, Z: tl.constexpr, BLOCK_Z: tl.constexpr):
    """Store one chunk's part of the gradient of z."""
    e = tl.arange(0, BLOCK_Z)
    to = partial_z + (first + r)[:, None] * (12 * Z) + (block * Z + e)[None, :]
    tl.store(to, part, mask=r_ok[:, None] & (e < Z)[None, :])


@triton.jit(do_not_specialize=["row", "rows", "batch"])
def scales_backward(
    grad_pre,
    wx,
    wh,
    saved_z,
    D,
    grad_wx,
    grad_wh,
    P,
    partial_z,
    partial_hyper_h,
    row,
    rows,
    batch,
    H: tl.constexpr,
    K: tl.constexpr,
    Z: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_Z: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    PRECISION: tl.constexpr,
    PDL: tl.constexpr,
):
    """The gradients of W_x x and W_h h, and each program's part of those of z and ĥ."""
    r = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    gate = tl.program_id(1)
    chunk = tl.program_id(2)
    r_ok = r < rows
    n = (row + r).to(tl.int64)
    j = chunk * BLOCK_C + tl.arange(0, BLOCK_C)
    j_ok = j < H
    ok = r_ok[:, None] & j_ok[None, :]
    narrow = n[:, None] * (4 * H) + (gate * H + j)[None, :]
    wide = n[:, None] * (4 * H + 4 * K) + (gate * H + j)[None, :]
    # all of this comes from the forward pass: it can be read while the previous kernel still runs
    D_h = matrix_d(D, gate, j, j_ok, H, Z, BLOCK_Z)
    D_x = matrix_d(D, 4 + gate, j, j_ok, H, Z, BLOCK_Z)
    D_b = matrix_d(D, 8 + gate, j, j_ok, H, Z, BLOCK_Z)
    d_h = tl.dot(load_z(saved_z, n, r_ok, gate, Z, BLOCK_Z), tl.trans(D_h), input_precision=PRECISION)
    d_x = tl.dot(load_z(saved_z, n, r_ok, 4 + gate, Z, BLOCK_Z), tl.trans(D_x), input_precision=PRECISION)
    P_h = matrix_p(P, gate, K, Z, BLOCK_Q, BLOCK_Z)
    P_x = matrix_p(P, 4 + gate, K, Z, BLOCK_Q, BLOCK_Z)
    P_b = matrix_p(P, 8 + gate, K, Z, BLOCK_Q, BLOCK_Z)
    main_wh = load(wh, narrow, ok)
    main_wx = load(wx, wide, ok)
    follow(PDL)
    grad = load(grad_pre, narrow, ok)
    store(grad_wh, wide, d_h * grad, ok)
    store(grad_wx, wide, d_x * grad, ok)
    # d_a = D_a z_a
    part_h = tl.dot(grad * main_wh, D_h, input_precision=PRECISION)
    part_x = tl.dot(grad * main_wx, D_x, input_precision=PRECISION)
    part_b = tl.dot(grad, D_b, input_precision=PRECISION)
    first = chunk * batch
    _store_part(partial_z, part_h, r, r_ok, first, gate, Z, BLOCK_Z)
    _store_part(partial_z, part_x, r, r_ok, first, 4 + gate, Z, BLOCK_Z)
    _store_part(partial_z, part_b, r, r_ok, first, 8 + gate, Z, BLOCK_Z)
    # z_a = P_a ĥ_t + p_a
    grad_h = tl.dot(part_h, P_h, input_precision=PRECISION)
    grad_h = tl.dot(part_x, P_x, grad_h, input_precision=PRECISION)
    grad_h = tl.dot(part_b, P_b, grad_h, input_precision=PRECISION)
    k = tl.arange(0, BLOCK_Q)
    place = (gate * tl.num_programs(2) + chunk) * batch + r
    tl.store(partial_hyper_h + place[:, None] * K + k[None, :], grad_h, mask=r_ok[:, None] & (k < K)[None, :])
