"""HyperLSTM's time loop within a kernel. One program computes all steps of BLOCK_M rows of the batch, as in lstm_scan.py.

Equations and names are those of hyper_cell.py, scales.py and lstm_cell.py. wx and grad_wx, (N, 4H + 4K), have the main cell's
columns first.
"""

# its types do not cover what kernels return
# pyright: reportGeneralTypeIssues=false

import triton
import triton.language as tl

from .hyper_cell import matrix_p
from .lstm_cell import cell, cell_gradients, load_gates, load_norm, store_gates
from .parts import load, load_before, load_mask, rounded, step_neighbours, step_rows, store
from .products import dot_columns, dot_rows
from .scales import load_z, matrix_d, scale


@triton.jit(do_not_specialize=["steps", "batch"])
def hyper_scan_forward(
    wx,
    weight_h,
    bias,
    hyper_weight_h,
    hyper_weight_hh,
    P,
    p,
    D,
    h,
    c,
    hyper_h,
    hyper_c,
    mask,
    gain,
    shift,
    cell_gain,
    cell_shift,
    hyper_gain,
    hyper_shift,
    hyper_cell_gain,
    hyper_cell_shift,
    pre,
    hyper_pre,
    wh,
    output,
    saved_c,
    saved_hyper_h,
    saved_hyper_c,
    saved_z,
    stats,
    hyper_stats,
    places,
    steps,
    batch,
    eps,
    H: tl.constexpr,
    K: tl.constexpr,
    Z: tl.constexpr,
    SAVE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_Z: tl.constexpr,
    PRECISION: tl.constexpr,
    SHORT: tl.constexpr,
):
    """All ĥ_t, ĉ_t, h_t and c_t. The running states hold the initial ones before, and the final ones after."""
    r = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    b = r[:, None]
    column = tl.arange(0, BLOCK_H)
    column_ok = column < H
    j, j_ok = column[None, :], column_ok[None, :]
    small = tl.arange(0, BLOCK_Q)
    small_ok = small < K
    k, k_ok = small[None, :], small_ok[None, :]
    here, hyper_here = b * H + j, b * K + k
    c_t = load(c, here, (b < batch) & j_ok)
    hyper_c_t = load(hyper_c, hyper_here, (b < batch) & k_ok)
    for t in range(steps):
        row, r_ok, own = step_rows(places, t, r)
        ok, hyper_ok = r_ok[:, None] & j_ok, r_ok[:, None] & k_ok
        n = row + own[:, None]
        # without a backward pass, all steps are kept in the same place
        kept = n if SAVE else own[:, None]
        # ĥ_t, ĉ_t = LSTM(Ŵ_x x_t + b̂ + Ŵ_h h_{t-1} + Ŵ_ĥ ĥ_{t-1}, ĉ_{t-1})
        i, f, g, o = load_gates(wx + n * (4 * H + 4 * K) + 4 * H, k, hyper_ok, K)
        i = dot_rows(i, h, hyper_weight_h, r, r_ok, small, small_ok, H, H, BLOCK_K, PRECISION)
        i = dot_rows(i, hyper_h, hyper_weight_hh, r, r_ok, small, small_ok, K, K, BLOCK_K, PRECISION)
        f = dot_rows(f, h, hyper_weight_h, r, r_ok, K + small, small_ok, H, H, BLOCK_K, PRECISION)
        f = dot_rows(f, hyper_h, hyper_weight_hh, r, r_ok, K + small, small_ok, K, K, BLOCK_K, PRECISION)
        g = dot_rows(g, h, hyper_weight_h, r, r_ok, 2 * K + small, small_ok, H, H, BLOCK_K, PRECISION)
        g = dot_rows(g, hyper_h, hyper_weight_hh, r, r_ok, 2 * K + small, small_ok, K, K, BLOCK_K, PRECISION)
        o = dot_rows(o, h, hyper_weight_h, r, r_ok, 3 * K + small, small_ok, H, H, BLOCK_K, PRECISION)
        o = dot_rows(o, hyper_h, hyper_weight_hh, r, r_ok, 3 * K + small, small_ok, K, K, BLOCK_K, PRECISION)
        # rounded here as the backward pass reads them
        i, f, g, o = rounded(i, wx), rounded(f, wx), rounded(g, wx), rounded(o, wx)
        store_gates(hyper_pre + kept * (4 * K), k, i, f, g, o, hyper_ok, K)
        hyper_h_t, hyper_c_next = cell(
            i,
            f,
            g,
            o,
            hyper_c_t,
            1.0,
            load_norm(hyper_gain, hyper_shift, hyper_cell_gain, hyper_cell_shift, k, k_ok, K),
            hyper_ok,
            hyper_stats,
            n,
            r_ok[:, None],
            hyper_gain is not None,
            K,
            eps,
        )
        hyper_c_t = tl.where(hyper_ok, hyper_c_next, hyper_c_t)
        e = tl.arange(0, BLOCK_Z)
        e_ok = e < Z
        for gate in tl.range(4, num_stages=1):
            # z_a^y = P_a^y ĥ_t + p_a^y
            P_h = matrix_p(P, gate, K, Z, BLOCK_Q, BLOCK_Z)
            P_x = matrix_p(P, 4 + gate, K, Z, BLOCK_Q, BLOCK_Z)
            P_b = matrix_p(P, 8 + gate, K, Z, BLOCK_Q, BLOCK_Z)
            z_h = tl.dot(hyper_h_t, tl.trans(P_h), input_precision=SHORT) + load(p, gate * Z + e, e_ok)[None, :]
            z_x = tl.dot(hyper_h_t, tl.trans(P_x), input_precision=SHORT) + load(p, (4 + gate) * Z + e, e_ok)[None, :]
            z_b = tl.dot(hyper_h_t, tl.trans(P_b), input_precision=SHORT)
            to = saved_z + kept * (12 * Z) + (gate * Z + e)[None, :]
            z_ok = r_ok[:, None] & e_ok[None, :]
            store(to, 0, z_h, z_ok)
            store(to, 4 * Z, z_x, z_ok)
            store(to, 8 * Z, z_b, z_ok)
            main_wh = tl.zeros((BLOCK_M, BLOCK_H), tl.float32)
            main_wh = dot_rows(main_wh, h, weight_h, r, r_ok, gate * H + column, column_ok, H, H, BLOCK_K, PRECISION)
            store(wh + kept * (4 * H), gate * H + j, main_wh, ok)
            scaled = scale(
                z_h,
                z_x,
                z_b,
                matrix_d(D, gate, column, column_ok, H, Z, BLOCK_Z),
                matrix_d(D, 4 + gate, column, column_ok, H, Z, BLOCK_Z),
                matrix_d(D, 8 + gate, column, column_ok, H, Z, BLOCK_Z),
                rounded(main_wh, wh),
                load(wx + n * (4 * H + 4 * K), gate * H + j, ok),
                SHORT,
            )
            store(pre + kept * (4 * H), gate * H + j, scaled + load(bias, gate * H + j, j_ok), ok)
        tl.debug_barrier()  # all threads have read h_{t-1} and ĥ_{t-1}, and pre is there for all
        store(hyper_h, hyper_here, hyper_h_t, hyper_ok)
        store(saved_hyper_c, kept * K + k, hyper_c_t, hyper_ok)
        if saved_hyper_h is not None:
            store(saved_hyper_h, kept * K + k, hyper_h_t, hyper_ok)
        # h_t, c_t
        i, f, g, o = load_gates(pre + kept * (4 * H), j, ok, H)
        h_t, c_next = cell(
            i,
            f,
            g,
            o,
            c_t,
            load_mask(mask, n * H + j, ok),
            load_norm(gain, shift, cell_gain, cell_shift, j, j_ok, H),
            ok,
            stats,
            n,
            r_ok[:, None],
            gain is not None,
            H,
            eps,
        )
        c_t = tl.where(ok, c_next, c_t)
        if saved_c is not None:
            store(saved_c, n * H + j, c_t, ok)
        store(output, n * H + j, h_t, ok)
        store(h, here, h_t, ok)
        tl.debug_barrier()  # h_t and ĥ_t are there for all threads
    store(c, here, c_t, (b < batch) & j_ok)
    store(hyper_c, hyper_here, hyper_c_t, (b < batch) & k_ok)


@triton.jit(do_not_specialize=["steps"])
def hyper_scan_backward(
    grad_output,
    grad_h,
    grad_c,
    grad_hyper_h,
    grad_hyper_c,
    partial_h,
    recurrent,
    wx,
    weight_h,
    hyper_weight_h,
    hyper_weight_hh,
    P,
    D,
    pre,
    hyper_pre,
    wh,
    stats,
    hyper_stats,
    saved_c,
    c0,
    saved_hyper_c,
    hyper_c0,
    saved_z,
    mask,
    gain,
    shift,
    cell_gain,
    cell_shift,
    hyper_gain,
    hyper_shift,
    hyper_cell_gain,
    hyper_cell_shift,
    grad_pre,
    grad_wx,
    grad_wh,
    grad_z,
    grad_normed,
    grad_cell_normed,
    grad_hyper_normed,
    grad_hyper_cell_normed,
    places,
    steps,
    H: tl.constexpr,
    K: tl.constexpr,
    Z: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_Z: tl.constexpr,
    PRECISION: tl.constexpr,
    SHORT: tl.constexpr,
):
    """The gradients of all products, of pre^y and of z, and those of the initial states.

    grad_c and grad_hyper_c hold the gradients of the final c and ĉ before, and those of c_0 and ĉ_0 after. Those of the final h
    and ĥ are in grad_h and grad_hyper_h; those of h_0 and ĥ_0 come to partial_h and recurrent.
    """
    r = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    b = r[:, None]
    column = tl.arange(0, BLOCK_H)
    column_ok = column < H
    j, j_ok = column[None, :], column_ok[None, :]
    small = tl.arange(0, BLOCK_Q)
    small_ok = small < K
    k, k_ok = small[None, :], small_ok[None, :]
    e = tl.arange(0, BLOCK_Z)
    here, hyper_here = b * H + j, b * K + k
    STRIDE: tl.constexpr = 4 * H + 4 * K
    # running gradients stay in memory: the registers are full
    for back in range(steps):
        t = steps - 1 - back
        row, r_ok, own = step_rows(places, t, r)
        before_row, before_rows, after_rows = step_neighbours(places, t)
        ok, hyper_ok = r_ok[:, None] & j_ok, r_ok[:, None] & k_ok
        n = row + own[:, None]
        # the rows of the step after this one have made their share of the gradients; for the others the state is the last
        continued = b < after_rows
        dh = load(grad_output, n * H + j, ok) + load(grad_h, here, ok & (b >= after_rows))
        dh += load(partial_h, here, ok & continued)
        i, f, g, o = load_gates(pre + n * (4 * H), j, ok, H)
        grad_i, grad_f, grad_g, grad_o, dc = cell_gradients(
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
        store(grad_c, here, dc, ok)
        store_gates(grad_pre + n * (4 * H), j, grad_i, grad_f, grad_g, grad_o, ok, H)
        tl.debug_barrier()  # the gradients are there for all threads
        dhyper_h = load(grad_hyper_h, hyper_here, hyper_ok & (b >= after_rows))
        dhyper_h += load(recurrent, hyper_here, hyper_ok & continued)
        for gate in tl.range(4, num_stages=1):
            D_h = matrix_d(D, gate, column, column_ok, H, Z, BLOCK_Z)
            D_x = matrix_d(D, 4 + gate, column, column_ok, H, Z, BLOCK_Z)
            D_b = matrix_d(D, 8 + gate, column, column_ok, H, Z, BLOCK_Z)
            grad = load(grad_pre + n * (4 * H), gate * H + j, ok)
            main_wh = load(wh + n * (4 * H), gate * H + j, ok)
            main_wx = load(wx + n * STRIDE, gate * H + j, ok)
            z_h = load_z(saved_z, row + own, r_ok, gate, Z, BLOCK_Z)
            z_x = load_z(saved_z, row + own, r_ok, 4 + gate, Z, BLOCK_Z)
            d_h = tl.dot(z_h, tl.trans(D_h), input_precision=SHORT)
            d_x = tl.dot(z_x, tl.trans(D_x), input_precision=SHORT)
            store(grad_wh + n * STRIDE, gate * H + j, d_h * grad, ok)
            store(grad_wx + n * STRIDE, gate * H + j, d_x * grad, ok)
            # d_a = D_a z_a
            dz_h = tl.dot(grad * main_wh, D_h, input_precision=SHORT)
            dz_x = tl.dot(grad * main_wx, D_x, input_precision=SHORT)
            dz_b = tl.dot(grad, D_b, input_precision=SHORT)
            to = grad_z + n * (12 * Z) + (gate * Z + e)[None, :]
            z_ok = r_ok[:, None] & (e < Z)[None, :]
            store(to, 0, dz_h, z_ok)
            store(to, 4 * Z, dz_x, z_ok)
            store(to, 8 * Z, dz_b, z_ok)
            # z_a = P_a ĥ_t + p_a
            dhyper_h = tl.dot(dz_h, matrix_p(P, gate, K, Z, BLOCK_Q, BLOCK_Z), dhyper_h, input_precision=SHORT)
            dhyper_h = tl.dot(dz_x, matrix_p(P, 4 + gate, K, Z, BLOCK_Q, BLOCK_Z), dhyper_h, input_precision=SHORT)
            dhyper_h = tl.dot(dz_b, matrix_p(P, 8 + gate, K, Z, BLOCK_Q, BLOCK_Z), dhyper_h, input_precision=SHORT)
        i, f, g, o = load_gates(hyper_pre + n * (4 * K), k, hyper_ok, K)
        grad_i, grad_f, grad_g, grad_o, dhyper_c = cell_gradients(
            dhyper_h,
            load(grad_hyper_c, hyper_here, hyper_ok),
            load(saved_hyper_c, n * K + k, hyper_ok),
            load_before(saved_hyper_c, hyper_c0, before_row, before_rows, own[:, None], k, hyper_ok, K),
            1.0,
            i,
            f,
            g,
            o,
            load_norm(hyper_gain, hyper_shift, hyper_cell_gain, hyper_cell_shift, k, k_ok, K),
            hyper_stats,
            grad_hyper_normed,
            grad_hyper_cell_normed,
            n,
            k,
            hyper_ok,
            hyper_gain is not None,
            K,
        )
        store(grad_hyper_c, hyper_here, dhyper_c, hyper_ok)
        # the hyper cell adds its products on x and h, so both buffers get its gradients
        store_gates(grad_wx + n * STRIDE + 4 * H, k, grad_i, grad_f, grad_g, grad_o, hyper_ok, K)
        store_gates(grad_wh + n * STRIDE + 4 * H, k, grad_i, grad_f, grad_g, grad_o, hyper_ok, K)
        tl.debug_barrier()  # the gradients are there for all threads
        # dh_{t-1} = W_hᵀ d(W_h h) + Ŵ_hᵀ dhyper_pre,  dĥ_{t-1} = Ŵ_ĥᵀ dhyper_pre
        of_main = grad_wh + row * STRIDE
        of_hyper = of_main + 4 * H
        dh = tl.zeros((BLOCK_M, BLOCK_H), tl.float32)
        dh = dot_columns(dh, of_main, weight_h, r, r_ok, column, column_ok, STRIDE, H, 4 * H, BLOCK_K, PRECISION)
        dh = dot_columns(dh, of_hyper, hyper_weight_h, r, r_ok, column, column_ok, STRIDE, H, 4 * K, BLOCK_K, PRECISION)
        store(partial_h, here, dh, ok)
        dhyper_h = tl.zeros((BLOCK_M, BLOCK_Q), tl.float32)
        dhyper_h = dot_columns(
            dhyper_h, of_hyper, hyper_weight_hh, r, r_ok, small, small_ok, STRIDE, K, 4 * K, BLOCK_K, PRECISION
        )
        store(recurrent, hyper_here, dhyper_h, hyper_ok)
        tl.debug_barrier()  # the running gradients are there for all threads
