"""The equations of the generators, their initialisation, and the paper's parameter counts."""

import copy
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

import hypernetworks as hn

from .targets import GENERATORS, C, ResidualBlock, close, mlp, shake


def conv(n_in, n_out, size, **own):
    return nn.Conv2d(n_in, n_out, size, padding=size // 2, bias=False, **own)


def numbers_of(net):
    return sum(parameter.numel() for parameter in net.generator.parameters())


def test_the_mnist_kernel_of_the_paper():
    net = hn.HyperNetwork(nn.Conv2d(16, 16, 7), hn.TiledKernelGenerator(4), nn.Conv2d)
    (maker,) = net.generator.makers
    assert maker.z.numel() == 4
    assert numbers_of(net) == 4240 + 4
    assert net.weight_report().generated == 12544
    assert net.target.bias.requires_grad  # it stays an ordinary parameter


@pytest.mark.parametrize(("width", "embeddings", "numbers"), [(1, 242, 91_408), (2, 966, 137_744)])
def test_the_wide_residual_nets_of_the_paper(width, embeddings, numbers):
    """Groups 2 to 4 of WRN-40-k: 36 3×3 kernels, of 16k, 32k and 64k channels, the first group from 16."""
    kernels, n_in = [], 16
    for channels in (16 * width, 32 * width, 64 * width):
        for _ in range(12):
            kernels.append(conv(n_in, channels, 3))
            n_in = channels
    net = hn.HyperNetwork(nn.ModuleList(kernels), hn.TiledKernelGenerator(64))
    (maker,) = net.generator.makers
    assert tuple(maker.z.shape) == (embeddings, 64)
    assert numbers_of(net) == numbers


def test_tiled_kernels_are_the_papers_equations_tile_by_tile():
    target = nn.ModuleList([conv(4, 8, 3, dtype=torch.float64), conv(8, 4, 3, dtype=torch.float64), conv(4, 4, 5)])
    target = target.double()
    net = hn.HyperNetwork(target, hn.TiledKernelGenerator(3, tile=4))
    shake(net)
    assert [tuple(maker.field) for maker in net.generator.makers] == [(3, 3), (5, 5)]  # one maker for each size
    maker, kernels = net.generator.makers[0], net.generate()
    tiles = iter(maker.z)
    for k in range(2):
        K = kernels[f"{k}.weight"]
        for out in range(0, K.shape[0], 4):
            for into in range(0, K.shape[1], 4):
                z = next(tiles)
                for i in range(4):
                    a = maker.W_in[i] @ z + maker.B_in[i]
                    expected = (maker.W_out @ a + maker.B_out).view(4, 3, 3)
                    close(K[out : out + 4, into + i], expected)
    assert next(tiles, None) is None


@pytest.mark.parametrize("kind", GENERATORS)
def test_every_condition_starts_at_the_target_as_it_is(kind):
    own = {"init": "target"} if kind in ("full", "chunked") else {}
    target = ResidualBlock()
    with torch.no_grad():
        target.bn1.weight.normal_()
    plain = dict(copy.deepcopy(target).named_parameters())
    net = hn.HyperNetwork(target, GENERATORS[kind](**own))
    for c in (torch.randn(C, dtype=torch.float64), torch.randn(2, C, dtype=torch.float64)):
        made = net.generate(c)
        assert made.keys() == plain.keys()
        for name, tensor in made.items():
            assert torch.equal(tensor, plain[name].expand(tensor.shape)), name
    # and it can leave it: the loss falls, conditions come apart
    optimiser = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], 1e-2)
    x, c = torch.randn(8, 4, 5, 5, dtype=torch.float64), torch.randn(8, C, dtype=torch.float64)
    losses = []
    for _ in range(15):
        optimiser.zero_grad()
        loss = (net(x, condition=c) - c[:, :1, None, None]).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    made = net.generate(c)["conv1.weight"]
    assert (made[0] - made[1]).abs().max() > 1e-4


def test_a_frozen_base_stays_and_a_learned_one_learns():
    for frozen in (True, False):
        target = mlp().requires_grad_(not frozen)
        net = hn.HyperNetwork(target, hn.LowRankGenerator(C, rank=2, alpha=6), "*.weight")
        shake(net)
        net(torch.randn(3, 5, dtype=torch.float64), condition=torch.randn(C, dtype=torch.float64)).sum().backward()
        assert all((parameter.grad is None) == frozen for parameter in target.parameters())
        c = torch.randn(C, dtype=torch.float64)
        h = net.generator.trunk(c)
        heads_B, heads_A = net.generator.heads[0]
        B, A = heads_B(h).view(8, 2), heads_A(h).view(2, 5)
        # W = W_target + (α / r) B(c) A(c)
        close(net.generate(c)["0.weight"], target[0].weight + 6 / 2 * B @ A)
        assert torch.linalg.matrix_rank(net.generate(c)["0.weight"] - target[0].weight) == 2


def test_rows_are_scaled():
    net = hn.HyperNetwork(ResidualBlock(), hn.RowScaleGenerator(C))
    shake(net)
    made = net.generate(torch.randn(C, dtype=torch.float64))["conv2.weight"] / net.target.conv2.weight
    rows = made.flatten(1)
    close(rows, rows[:, :1].expand_as(rows))
    assert rows[:, 0].std() > 0.01


def test_chunks_are_one_network_cut_up():
    net = hn.HyperNetwork(mlp(), hn.ChunkedGenerator(C, chunk_size=10, embedding_size=2))
    generator, c = net.generator, torch.randn(C, dtype=torch.float64)
    assert tuple(generator.embeddings.shape) == (9, 2)  # 84 numbers in chunks of 10
    chunks = [generator.head(generator.trunk(torch.cat((c, e)))) for e in generator.embeddings]
    flat = torch.cat(chunks)[:84]
    made = torch.cat([tensor.flatten() for tensor in net.generate(c).values()])
    ratio = made / flat
    close(ratio[:40], ratio[0].expand(40))
    close(ratio[0] ** 2, torch.tensor(2 / (2 * 5), dtype=torch.float64))  # r / (β n_in)


def test_generators_one_after_the_other():
    target = mlp()
    chain = hn.GeneratorChain(hn.FullGenerator(C, init="hyperfan-in"), hn.RowScaleGenerator(C))
    net = hn.HyperNetwork(target, chain)
    shake(net)
    c = torch.randn(2, C, dtype=torch.float64)
    full, rows = chain.generators
    W, d = full(c, {})["2.weight"], rows.head(rows.trunk(c)).split(rows.rows, dim=-1)[2]
    close(net.generate(c)["2.weight"], d[:, :, None] * W)
    assert not any(parameter.requires_grad for parameter in target.parameters())


def test_generators_side_by_side():
    target = ResidualBlock()
    parts = {
        nn.Conv2d: hn.TiledKernelGenerator(2, tile=4),
        "*.bias": hn.FullGenerator(C),
        None: hn.RowScaleGenerator(C),
    }
    net = hn.HyperNetwork(target, hn.GeneratorSplit(parts))
    assert [part.names for part in net.generator.generators] == [
        ("conv1.weight", "conv2.weight"),
        ("bn1.bias", "bn2.bias"),
        ("bn1.weight", "bn2.weight"),
    ]
    assert [name for name, p in target.named_parameters() if p.requires_grad] == ["bn1.weight", "bn2.weight"]
    assert net.weight_report(torch.randn(C, dtype=torch.float64)).base == 8


def test_the_report_counts_and_measures():
    net = hn.HyperNetwork(mlp(), hn.FullGenerator(C, hidden=(6,), init="hyperfan-in"), "0.*")
    told = net.weight_report()
    assert (told.generated, told.rest, told.base) == (48, 36, 0)
    assert told.generator == (C * 6 + 6) + (6 * 48 + 48)
    assert told.compression == 48 / told.generator
    c = torch.randn(7, C, dtype=torch.float64)
    made = net.generate(c)["0.weight"]
    assert net.weight_report(c).weights[0].variance == pytest.approx(made.var(correction=0).item())
    assert "0.weight" in str(told)
    assert str(told) == str(net.weight_report())


def test_a_notebook_shows_the_report_as_a_table():
    report = hn.HyperNetwork(mlp(), hn.FullGenerator(C, hidden=(6,)), "0.*").weight_report()
    report = report._replace(weights=(report.weights[0]._replace(name="<0>", change=0.25), *report.weights[1:]))
    table, counts = ElementTree.fromstring(f"<div>{report._repr_html_()}</div>")
    cells = [[cell.text for cell in row] for row in table]
    assert cells[0] == ["tensor", "shape", "variance", "target", "spread", "change"]
    assert (cells[1][0], cells[1][1], cells[1][5]) == ("<0>", "8×5", "0.25")
    assert float(cells[2][2]) == pytest.approx(report.weights[1].variance, rel=1e-2)
    assert len(cells) == 1 + len(report.weights)
    assert counts.text == str(report).splitlines()[-1]


def test_scalars_of_the_report():
    net = hn.HyperNetwork(mlp(), hn.FullGenerator(C, hidden=(6,)), ["0.weight", "2.bias"])
    start = net.weight_report().scalars()
    assert start["0.weight/change"] == start["2.bias/spread"] == 0  # every condition starts at the target
    assert start["0.weight/deviation"] == pytest.approx(net.target[0].weight.std(correction=0).item())
    shake(net.generator)
    c = torch.randn(7, C, dtype=torch.float64)
    made, told = net.generate(c), net.weight_report(c).scalars()
    assert set(told) == {f"{name}/{what}" for name in made for what in ("deviation", "spread", "change")}
    for name, W in made.items():
        own = net.target.get_parameter(name)
        changes = torch.stack([((W[n] - own).norm() / own.norm()) ** 2 for n in range(7)])
        assert told[f"{name}/change"] == pytest.approx(changes.mean().sqrt().item())
        mean = W.mean(0)
        between = torch.stack([(W[n] - mean).square() for n in range(7)]).mean()
        assert told[f"{name}/spread"] == pytest.approx((between / (W - W.mean()).square().mean()).item())
        assert 0 < told[f"{name}/spread"] <= 1
        assert isinstance(told[f"{name}/spread"], float)
    zero = hn.HyperNetwork(nn.Linear(3, 2), hn.FullGenerator(C), "bias")
    nn.init.zeros_(zero.target.bias)
    shake(zero.generator)
    assert zero.weight_report().scalars()["bias/change"] == float("inf")


def test_layers_whose_weight_is_generated():
    x = torch.randn(2, 16, 9, 9)
    layer = hn.HyperConv2d(16, 32, 3, 2, padding=1, generator=hn.TiledKernelGenerator(4))
    close(layer(x), nn.functional.conv2d(x, layer.generate()["weight"], layer.target.bias, 2, 1), 1e-6)
    linear = hn.HyperLinear(5, 4, generator=hn.FullGenerator(C, init="hyperfan-in"))
    x, c = torch.randn(2, 5), torch.randn(2, C)
    expected = torch.einsum("noi,ni->no", linear.generate(c)["weight"], x) + linear.target.bias
    close(linear(x, condition=c), expected, 1e-6)
    assert layer.target.bias.requires_grad
    assert not layer.target.weight.requires_grad


def test_task_embeddings():
    tasks = hn.TaskEmbedding(4, 3)
    assert torch.equal(tasks(2), tasks(torch.tensor([1, 2]))[1])
    for wrong in (4, -1):
        with pytest.raises(ValueError, match=f"task should be one of 0 to 3, got {wrong}"):
            tasks(wrong)
        with pytest.raises(ValueError, match=rf"each task should be one of 0 to 3, got \[{wrong}\]"):
            tasks(torch.tensor([0, wrong, 2, wrong]))
    with pytest.raises(TypeError, match=r"whole number.*got 1\.5"):
        tasks(1.5)
    net = hn.HyperNetwork(mlp(torch.float32), hn.FullGenerator(3, init="hyperfan-in"))
    for task in range(4):
        net(torch.randn(6, 5), condition=tasks(task)).sum().backward()
    assert (tasks.weight.grad.abs().sum(1) > 0).all()


def test_tasks_are_added():
    tasks = hn.TaskEmbedding(2, 3, dtype=torch.float64)
    before = tasks.weight.detach().clone()
    tasks.add()
    tasks.add(3)
    assert tasks.weight.shape == (6, 3)
    assert torch.equal(tasks.weight[:2], before)
    assert tasks.weight.requires_grad
    assert tasks.weight.dtype == torch.float64
    assert tasks.weight[2:].std() > 0.1
    tasks(5).sum().backward()
    with pytest.raises(ValueError, match="one of 0 to 5, got 6"):
        tasks(6)


def test_gradients_reach_a_condition_network_of_the_users_own():
    net = hn.HyperNetwork(mlp(), hn.FullGenerator(C, init="hyperfan-in"))
    own = nn.Linear(2, C, dtype=torch.float64)
    net(torch.randn(6, 5, dtype=torch.float64), condition=own(torch.randn(6, 2, dtype=torch.float64))).sum().backward()
    assert own.weight.grad.abs().min() > 0


@pytest.mark.parametrize("kind", GENERATORS)
def test_gradcheck(kind):
    net = hn.HyperNetwork(mlp(), GENERATORS[kind](hidden=(3,)))
    shake(net)
    names = [name for name, parameter in net.named_parameters() if parameter.requires_grad]

    def call(x, c, *values):
        return torch.func.functional_call(net, dict(zip(names, values, strict=True)), (x,), {"condition": c})

    inputs = [torch.randn(2, 5, dtype=torch.float64), torch.randn(2, C, dtype=torch.float64)]
    inputs += [net.get_parameter(name).detach().clone() for name in names]
    assert torch.autograd.gradcheck(call, [each.requires_grad_() for each in inputs], fast_mode=True)
