"""Every step once more, for one sample and one gate at a time, with the generated matrices made in full: diag(d) W.

Nothing of the package is used but the parameters. x (I,), h (H,), W (H, ·) for each gate; `drop` is what recurrent dropout
multiplies the candidate with.
"""

import torch
from torch import Tensor

from .families import EPS


def norm(a: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    """(a − mean(a)) / sqrt(var(a) + ε) ⊙ gain + shift."""
    mean = a.sum() / len(a)
    variance = ((a - mean) ** 2).sum() / len(a)
    return (a - mean) / (variance + EPS) ** 0.5 * gain + shift


def sigmoid(a: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-a))


def block(matrix: Tensor, k: int, blocks: int) -> Tensor:
    """Row block k of `blocks` equal ones."""
    rows = len(matrix) // blocks
    return matrix[k * rows : (k + 1) * rows]


def no_scales(blocks_h, blocks_x, b):
    return [1.0] * blocks_h, [1.0] * blocks_x, b


def diag(d, W: Tensor) -> Tensor:
    return W if isinstance(d, float) else torch.diag(d) @ W


def lstm(cell, x, state, scales=None, drop=1.0):
    """pre^y = LN_y(diag(d_h^y) W_h^y h + diag(d_x^y) W_x^y x + d_b^y + b^y), y = i, f, g, o."""
    h, c = state
    d_h, d_x, d_b = scales or no_scales(4, 4, [0.0] * 4)
    pre = []
    for y in range(4):
        W_h, W_x = diag(d_h[y], block(cell.weight_h, y, 4)), diag(d_x[y], block(cell.weight_x, y, 4))
        a = W_h @ h + W_x @ x + d_b[y] + block(cell.bias, y, 4)
        pre.append(a if cell.norm is None else norm(a, cell.norm.gain[y], cell.norm.shift[y]))
    i, f, g, o = sigmoid(pre[0]), sigmoid(pre[1]), torch.tanh(pre[2]), sigmoid(pre[3])
    c = f * c + i * (drop * g)
    seen = c if cell.cell_norm is None else norm(c, cell.cell_norm.gain, cell.cell_norm.shift)
    return o * torch.tanh(seen), c


def gru(cell, x, state, scales=None, drop=1.0):
    """n = tanh(LN_n(d_x ⊙ W_n x + b + d_b + r ⊙ (d_h ⊙ U_n h + b_h))), r and u as the gates of an LSTM."""
    (h,) = state
    d_h, d_x, d_b = scales or no_scales(3, 3, [0.0] * 3)

    def gate(y, r=1.0, b_h=0.0):
        W, U = diag(d_x[y], block(cell.weight_x, y, 3)), diag(d_h[y], block(cell.weight_h, y, 3))
        a = W @ x + block(cell.bias, y, 3) + d_b[y] + r * (U @ h + b_h)
        return a if cell.norm is None else norm(a, cell.norm.gain[y], cell.norm.shift[y])

    r, u = sigmoid(gate(0)), sigmoid(gate(1))
    n = drop * torch.tanh(gate(2, r, cell.bias_h))
    return ((1 - u) * n + u * h,)


def rnn(cell, x, state, scales=None, drop=1.0):
    (h,) = state
    d_h, d_x, d_b = scales or no_scales(1, 1, [0.0])
    a = diag(d_h[0], cell.weight_h) @ h + diag(d_x[0], cell.weight_x) @ x + d_b[0] + cell.bias
    return (drop * torch.tanh(a if cell.norm is None else norm(a, cell.norm.gain, cell.norm.shift)),)


def full_rnn(cell, x, state, z_h, z_x, d_b, drop=1.0):
    """The matrices W_h(z) = Σ_k z_k W_k of one sample, made in full."""
    (h,) = state
    Z = len(z_h)
    W_h = sum(z_h[k] * block(cell.weight_h, k, Z) for k in range(Z))
    W_x = sum(z_x[k] * block(cell.weight_x, k, Z) for k in range(Z))
    return (drop * torch.tanh(norm(W_h @ h + W_x @ x + d_b + cell.bias, cell.norm.gain, cell.norm.shift)),)


def rhn(cell, x, state, scales=None, drop=1.0):
    """s_l = h_l ⊙ t_l + s_{l-1} ⊙ (1 − t_l); x at depth 1 only."""
    (s,) = state
    depth = len(cell.weight_h)
    drops = [drop] * depth if isinstance(drop, float) else drop.chunk(depth)
    d_h, d_x, d_b = scales or no_scales(2 * depth, 2, [0.0] * (2 * depth))
    for l in range(depth):
        pre = []
        for y in range(2):
            R, k = diag(d_h[2 * l + y], block(cell.weight_h[l], y, 2)), 2 * l + y
            a = R @ s + d_b[k] + block(cell.bias[l], y, 2)
            pre.append(a + diag(d_x[y], block(cell.weight_x, y, 2)) @ x if l == 0 else a)
        t = sigmoid(pre[1])
        s = drops[l] * torch.tanh(pre[0]) * t + s * (1 - t)
    return (s,)


def hyper(main_step, blocks_h: int, blocks_x: int):
    """The hyper cell reads [x; h], its new output makes z and d, and these scale the main step."""

    def step(cell, x, state, drop=1.0):
        *main, hyper_h, hyper_c = state
        made = cell.hyper
        hyper_h, hyper_c = lstm(made.lstm, torch.cat([x, main[0]]), (hyper_h, hyper_c))
        z = [P @ hyper_h for P in made.P]
        for k in range(blocks_h + blocks_x):
            z[k] = z[k] + made.p[k]
        if main_step is full_rnn:
            main = full_rnn(cell.main, x, main, z[0], z[1], made.D[0] @ z[2], drop)
        else:
            d = [D @ z_a for D, z_a in zip(made.D, z, strict=True)]
            scales = d[:blocks_h], d[blocks_h : blocks_h + blocks_x], d[blocks_h + blocks_x :]
            main = main_step(cell.main, x, main, scales, drop)
        return *main, hyper_h, hyper_c

    return step


STEPS = {
    "lstm": lstm,
    "layer-norm-lstm": lstm,
    "gru": gru,
    "layer-norm-gru": gru,
    "rnn": rnn,
    "layer-norm-rnn": rnn,
    "rhn": rhn,
    "hyper-lstm": hyper(lstm, 4, 4),
    "hyper-lstm-without-norm": hyper(lstm, 4, 4),
    "hyper-gru": hyper(gru, 3, 3),
    "hyper-gru-without-norm": hyper(gru, 3, 3),
    "hyper-rnn": hyper(rnn, 1, 1),
    "hyper-rnn-without-norm": hyper(rnn, 1, 1),
    "hyper-rnn-full": hyper(full_rnn, 1, 1),
    "hyper-rhn": hyper(rhn, 4, 2),
}


def one_step(name: str, cell, x: Tensor, state, mask: Tensor | None = None) -> list[Tensor]:
    """A step of a batch, sample by sample: x (B, I), state each (B, ·), mask for the candidates of each sample."""
    drops = [1.0] * len(x) if mask is None else mask
    samples = [STEPS[name](cell, x[b], [part[b] for part in state], drop=drops[b]) for b in range(len(x))]
    return [torch.stack(parts) for parts in zip(*samples, strict=True)]


def run(name: str, network, x: Tensor, state) -> tuple[Tensor, list[Tensor]]:
    """All layers and directions: x (T, B, I), state each (L·S, B, ·) -> output (T, B, S·H), state."""
    directions = 2 if network.bidirectional else 1
    finals = []
    for layer in range(network.num_layers):
        halves = []
        for direction in range(directions):
            k = layer * directions + direction
            h, outputs = [part[k] for part in state], {}
            for t in range(len(x))[:: -1 if direction else 1]:
                h = one_step(name, network.cells[k], x[t], h)
                outputs[t] = h[0]
            halves.append(torch.stack([outputs[t] for t in range(len(x))]))
            finals.append(h)
        x = torch.cat(halves, dim=-1)
    return x, [torch.stack(parts) for parts in zip(*finals, strict=True)]
