"""The products of one time step: everything that meets h_{t-1} and ĥ_{t-1}, and the same backward.

Each program makes one tile of the result, of BLOCK_M rows and BLOCK_N columns of one gate.

H hidden, K hyper hidden (0 for a network without a hyper cell). The main cell has GATES blocks of H, a hyper cell four of K.
"""

import triton
import triton.language as tl

from .parts import follow


@triton.jit
def dot_rows(
    acc,
    a,
    weight,
    r,
    r_ok,
    n,
    n_ok,
    A_STRIDE: tl.constexpr,
    DEPTH: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """acc + a weightᵀ: rows r of a (rows, A_STRIDE) with rows n of weight (·, DEPTH), over the first DEPTH columns."""
    for start in range(0, DEPTH, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        k_ok = k < DEPTH
        a_tile = tl.load(a + r[:, None] * A_STRIDE + k[None, :], mask=r_ok[:, None] & k_ok[None, :], other=0.0)
        w_tile = tl.load(weight + n[:, None] * DEPTH + k[None, :], mask=n_ok[:, None] & k_ok[None, :], other=0.0)
        acc = tl.dot(a_tile, tl.trans(w_tile), acc, input_precision=PRECISION)
    return acc


@triton.jit
def dot_columns(
    acc,
    a,
    weight,
    r,
    r_ok,
    n,
    n_ok,
    A_STRIDE: tl.constexpr,
    WIDTH: tl.constexpr,
    DEPTH: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """acc + a weight: rows r of a (rows, A_STRIDE), over its first DEPTH columns, with columns n of weight (DEPTH, WIDTH)."""
    for start in range(0, DEPTH, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        k_ok = k < DEPTH
        a_tile = tl.load(a + r[:, None] * A_STRIDE + k[None, :], mask=r_ok[:, None] & k_ok[None, :], other=0.0)
        w_tile = tl.load(weight + k[:, None] * WIDTH + n[None, :], mask=k_ok[:, None] & n_ok[None, :], other=0.0)
        acc = tl.dot(a_tile, w_tile, acc, input_precision=PRECISION)
    return acc


@triton.jit(do_not_specialize=["x_row", "row", "rows"])
def product_forward(
    h,
    weight_h,
    wx,
    pre,
    wh,
    hyper_h,
    hyper_weight_h,
    hyper_weight_hh,
    hyper_pre,
    x_row,
    row,
    rows,
    H: tl.constexpr,
    K: tl.constexpr,
    GATES: tl.constexpr,
    APART: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PRECISION: tl.constexpr,
    PDL: tl.constexpr,
):
    """W_x x_t + b + W_h h_{t-1} to `pre`, for all gates but the last APART: of these W_h h_{t-1} alone goes to `wh`.

    Of a hyper cell, Ŵ_x x_t + b̂ + Ŵ_h h_{t-1} + Ŵ_ĥ ĥ_{t-1} goes to `hyper_pre`. wx holds the products on x of both.
    """
    follow(PDL)
    TILES: tl.constexpr = (H + BLOCK_N - 1) // BLOCK_N
    SUMMED: tl.constexpr = GATES - APART
    tile = tl.program_id(0)
    r = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    r_ok = r < rows
    x_n = (x_row + r).to(tl.int64)[:, None] * (GATES * H + 4 * K)
    n = (row + r).to(tl.int64)[:, None]
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    if tile < GATES * TILES:
        gate = tile // TILES
        j = (tile % TILES) * BLOCK_N + tl.arange(0, BLOCK_N)
        j_ok = j < H
        ok = r_ok[:, None] & j_ok[None, :]
        column = gate * H + j
        acc = dot_rows(acc, h, weight_h, r, r_ok, column, j_ok, H, H, BLOCK_K, PRECISION)
        if SUMMED > 0:
            summed = ok & (gate < SUMMED)
            with_x = acc + tl.load(wx + x_n + column[None, :], mask=summed, other=0.0).to(tl.float32)
            tl.store(pre + n * (GATES * H) + column[None, :], with_x.to(pre.dtype.element_ty), mask=summed)
        if APART > 0:
            to = wh + n * (APART * H) + (column - SUMMED * H)[None, :]
            tl.store(to, acc.to(wh.dtype.element_ty), mask=ok & (gate >= SUMMED))
    elif K > 0:
        HYPER_TILES: tl.constexpr = (K + BLOCK_N - 1) // BLOCK_N
        hyper_tile = tile - GATES * TILES
        gate = hyper_tile // HYPER_TILES
        j = (hyper_tile % HYPER_TILES) * BLOCK_N + tl.arange(0, BLOCK_N)
        j_ok = j < K
        ok = r_ok[:, None] & j_ok[None, :]
        column = gate * K + j
        acc = dot_rows(acc, h, hyper_weight_h, r, r_ok, column, j_ok, H, H, BLOCK_K, PRECISION)
        acc = dot_rows(acc, hyper_h, hyper_weight_hh, r, r_ok, column, j_ok, K, K, BLOCK_K, PRECISION)
        acc += tl.load(wx + x_n + GATES * H + column[None, :], mask=ok, other=0.0).to(tl.float32)
        tl.store(hyper_pre + n * (4 * K) + column[None, :], acc.to(hyper_pre.dtype.element_ty), mask=ok)


@triton.jit(do_not_specialize=["row", "rows", "batch"])
def product_backward(
    grad_wh,
    weight_h,
    hyper_weight_h,
    hyper_weight_hh,
    partial_h,
    grad_hyper_h,
    row,
    rows,
    batch,
    H: tl.constexpr,
    K: tl.constexpr,
    GATES: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PRECISION: tl.constexpr,
    PDL: tl.constexpr,
):
    """The gradient of h_{t-1} in parts, one for each gate and one for the hyper cell, and that of ĥ_{t-1}.

    grad_wh (N, GATES·H + 4K) holds the gradients of W_h h and of the hyper cell's pre-activations. The kernels that read
    the parts sum them in a fixed order.
    """
    follow(PDL)
    TILES: tl.constexpr = (H + BLOCK_N - 1) // BLOCK_N
    STRIDE: tl.constexpr = GATES * H + 4 * K
    tile = tl.program_id(0)
    r = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    r_ok = r < rows
    a = grad_wh + row.to(tl.int64) * STRIDE
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    part = tile // TILES
    j = (tile % TILES) * BLOCK_N + tl.arange(0, BLOCK_N)
    j_ok = j < H
    to = partial_h + part * batch * H + r[:, None] * H + j[None, :]
    if tile < GATES * TILES:
        weight = weight_h + part * H * H
        acc = dot_columns(acc, a + part * H, weight, r, r_ok, j, j_ok, STRIDE, H, H, BLOCK_K, PRECISION)
        tl.store(to, acc, mask=r_ok[:, None] & j_ok[None, :])
    elif K > 0:
        if tile < (GATES + 1) * TILES:
            acc = dot_columns(
                acc, a + GATES * H, hyper_weight_h, r, r_ok, j, j_ok, STRIDE, H, 4 * K, BLOCK_K, PRECISION
            )
            tl.store(to, acc, mask=r_ok[:, None] & j_ok[None, :])
        else:
            k = (tile - (GATES + 1) * TILES) * BLOCK_N + tl.arange(0, BLOCK_N)
            k_ok = k < K
            acc = dot_columns(
                acc, a + GATES * H, hyper_weight_hh, r, r_ok, k, k_ok, STRIDE, K, 4 * K, BLOCK_K, PRECISION
            )
            tl.store(grad_hyper_h + r[:, None] * K + k[None, :], acc, mask=r_ok[:, None] & k_ok[None, :])
