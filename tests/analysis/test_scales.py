"""Scales and weight changes compared with full matrices built from the equations."""

import pytest
import torch

import hypernetworks as hn
from hypernetworks.analysis import RelativeChange, scales_of, weight_change, weight_norm

from ..recurrent.families import HYPER_FAMILIES, H, I, K, close, hyper_families

T, B = 4, 3


def generated(family, cell, hyper_h):
    """What ĥ (K,) generates: the matrix applied to h at each gate and depth, all z, d_x and d_b, one by one."""
    made = cell.hyper
    z = [P @ hyper_h + (made.p[k] if k < len(made.p) else 0) for k, P in enumerate(made.P)]
    if family.name == "hyper-rnn-full":
        Z = len(z[0])
        W = sum(z[0][k] * cell.main.weight_h[k * H : (k + 1) * H] for k in range(Z))
        return [W], z, [], [made.D[0] @ z[2]]
    d = [D @ z_a for D, z_a in zip(made.D, z, strict=True)]
    h, x = made.blocks.h, made.blocks.x
    blocks = cell.main.weight_h.reshape(h, H, H)
    return [torch.diag(d[k]) @ blocks[k] for k in range(h)], z, d[h : h + x], d[h + x :]


@hyper_families
def test_scales_are_those_of_the_equations(family):
    cell, hyper_h = family.cell(), torch.randn(T, B, K, dtype=torch.float64)
    scales = scales_of(cell, hyper_h)
    for t in range(T):
        for b in range(B):
            W, z, d_x, d_b = generated(family, cell, hyper_h[t, b])
            close(scales.z[:, t, b], torch.stack(z))
            close(scales.d_b[:, t, b], torch.stack(d_b))
            if scales.d_h is None or scales.d_x is None:
                assert family.name == "hyper-rnn-full"
                continue
            close(scales.d_x[:, t, b], torch.stack(d_x))
            close(scales.d_h[:, t, b].unsqueeze(-1) * cell.main.weight_h.reshape(-1, H, H), torch.stack(W))


@hyper_families
def test_weight_change_is_the_norm_of_the_change_of_the_matrix_made_in_full(family):
    cell, hyper_h = family.cell(), torch.randn(T, B, K, dtype=torch.float64)
    scales = scales_of(cell, hyper_h[:-1]), scales_of(cell, hyper_h[1:])
    change = weight_change(cell, *scales)
    assert change.shape == (cell.hyper.blocks.h, T - 1, B)
    for t in range(T - 1):
        for b in range(B):
            before, after = (generated(family, cell, hyper_h[s, b])[0] for s in (t, t + 1))
            expected = [torch.linalg.matrix_norm(W - V) for W, V in zip(after, before, strict=True)]
            close(change[:, t, b], torch.stack(expected))
    close(change, weight_change(cell, *reversed(scales)))


@hyper_families
def test_weight_norm_is_that_of_the_matrix_made_in_full(family):
    cell, hyper_h = family.cell(), torch.randn(T, K, dtype=torch.float64)
    norm = weight_norm(cell, scales_of(cell, hyper_h))
    for t in range(T):
        close(norm[:, t], torch.stack([torch.linalg.matrix_norm(W) for W in generated(family, cell, hyper_h[t])[0]]))


@hyper_families
def test_relative_change_is_that_of_the_matrices_of_all_layers(family):
    network = family.network(num_layers=2)
    before, after = torch.randn(2, 2, T, B, K, dtype=torch.float64)
    change = RelativeChange(network)(before, after)
    assert change.shape == (len(RelativeChange(network).gates), T, B)
    for t in range(T):
        for b in range(B):
            old, new = (
                [torch.stack(generated(family, cell, hyper_h[k, t, b])[0]) for k, cell in enumerate(network.cells)]
                for hyper_h in (before, after)
            )
            # both layers of a gate as one vector
            old, new = (torch.stack(layers, 1).flatten(1) for layers in (old, new))
            close(change[:, t, b], (new - old).norm(dim=1) / torch.maximum(old.norm(dim=1), new.norm(dim=1)))


def test_the_relative_change_of_a_network_with_fixed_weights_has_no_rows():
    change = RelativeChange(hn.LSTM(I, H))
    assert change.gates == ()
    assert change(torch.zeros(1, T, B, K), torch.zeros(1, T, B, K)).shape == (0, T, B)


def test_weights_of_zero_do_not_change():
    network = hn.HyperLSTM(I, H, hyper_size=K)
    torch.nn.init.zeros_(network.cell(0).main.weight_h)
    change = RelativeChange(network)(torch.zeros(1, K), torch.ones(1, K))
    assert change.tolist() == [0, 0, 0, 0]


@hyper_families
def test_any_leading_dimensions(family):
    cell, hyper_h = family.cell(), torch.randn(T, B, K, dtype=torch.float64)
    many, some, one = scales_of(cell, hyper_h), scales_of(cell, hyper_h[0]), scales_of(cell, hyper_h[0, 0])
    for a, b, c in zip(many, some, one, strict=True):
        if a is not None:
            close((a[:, 0], b[:, 0]), (b, c))
    change = weight_change(cell, one, scales_of(cell, hyper_h[1, 1]))
    assert change.shape == (cell.hyper.blocks.h,)
    first = scales_of(cell, hyper_h[0, 0].expand(T, B, K))
    close(weight_change(cell, first, many)[:, 1, 1], change)
    assert scales_of(cell, hyper_h[:, :0]).z.shape[1:3] == (T, 0)


@pytest.mark.parametrize("name", [name for name in HYPER_FAMILIES if name != "hyper-rnn-full"])
def test_what_is_scaled_is_what_the_step_does(name):
    """A plain cell whose weights are multiplied by the scales of the new ĥ computes the same h."""
    family = HYPER_FAMILIES[name]
    cell, x, state = family.cell(), torch.randn(1, I, dtype=torch.float64), family.state(1)
    h, new = cell(x, state)
    scales, main = scales_of(cell, new.hyper_h[0]), cell.main
    with torch.no_grad():
        main.weight_h.mul_(scales.d_h.reshape(*main.weight_h.shape[:-1], 1))
        main.weight_x.mul_(scales.d_x.reshape(-1, 1))
        main.bias.add_(scales.d_b.reshape(main.bias.shape))
        own = state[: len(main.state_sizes)]
        weights = main.weights()
        plain = main.advance(main.project(x, weights), own, weights, None)
    close(h, plain[0])


def test_gates_are_named_as_in_the_equations():
    names = {name: family.cell().main.gate_names for name, family in HYPER_FAMILIES.items()}
    assert names["hyper-lstm"] == ("i", "f", "g", "o")
    assert names["hyper-gru"] == ("r", "u", "n")
    assert names["hyper-rnn"] == names["hyper-rnn-full"] == ("h",)
    assert names["hyper-rhn"] == ("h1", "t1", "h2", "t2")


@pytest.mark.parametrize("cell", [hn.LSTMCell(I, H), hn.HyperLSTM(I, H), None], ids=["plain", "network", "none"])
def test_other_cells_are_refused(cell):
    with pytest.raises(TypeError, match="cell should be the cell of a hyper network such as HyperLSTM, got"):
        scales_of(cell, torch.zeros(K))
    with pytest.raises(TypeError, match="cell should be the cell of a hyper network"):
        weight_change(cell, None, None)


@pytest.mark.parametrize(
    ("hyper_h", "message"),
    [
        (torch.zeros(2, K + 1), rf"hyper_h should have shape \(…, {K}\), got \(2, {K + 1}\)"),
        (torch.tensor(1.0), r"got \(\)"),
        (torch.zeros(K, dtype=torch.float64), r"hyper_h has dtype torch.float64"),
    ],
)
def test_a_state_of_another_network_is_refused(hyper_h, message):
    with pytest.raises(ValueError, match=message):
        scales_of(hn.HyperLSTMCell(I, H, hyper_size=K), hyper_h)
