"""The continual-learning regulariser: its formula, its subsampling, and that it keeps old tasks."""

import copy
import io

import pytest
import torch
from torch import nn

import hypernetworks as hn

from .targets import GENERATORS, C, close, mlp, shake


def made(**own):
    net = hn.HyperNetwork(mlp(), hn.FullGenerator(C, init="hyperfan-in"))
    return net, hn.TaskEmbedding(4, C, dtype=torch.float64), hn.ContinualRegularizer(net, **own)


def test_it_is_the_mean_squared_distance_of_all_weights_from_what_was_remembered():
    net, tasks, regularizer = made(strength=0.3)
    assert regularizer(tasks.weight) == 0
    regularizer.remember(tasks.weight[:3])
    before = [net.generate(tasks(t)) for t in range(3)]
    assert regularizer() == 0
    shake(net), shake(tasks)
    after = [net.generate(tasks(t)) for t in range(3)]
    distances = [sum((a[n] - b[n]).square().sum() for n in a) for a, b in zip(before, after, strict=True)]
    close(regularizer(tasks.weight[:3]), 0.3 / 3 * sum(distances))
    regularizer(tasks.weight[:3]).backward()
    assert all(p.grad is not None for p in (*net.generator.parameters(), tasks.weight))
    assert not [p for p in regularizer.parameters() if p.requires_grad]


def test_a_few_tasks_stand_for_all_on_average():
    net, tasks, regularizer = made(tasks_per_step=1)
    regularizer.remember(tasks.weight)
    shake(net)
    some = torch.stack([regularizer() for _ in range(200)]).detach()
    assert len(some.unique()) == 4  # one for each task
    regularizer.tasks_per_step = None
    close(some.unique().mean(), regularizer())


def test_what_does_not_fit():
    _, tasks, regularizer = made()
    with pytest.raises(ValueError, match=r"conditions should have shape \('tasks', 3\), got \(3,\)"):
        regularizer.remember(tasks(0))
    regularizer.remember(tasks.weight[:2])
    with pytest.raises(ValueError, match=r"conditions should have shape \(2, 3\), got \(3, 3\)"):
        regularizer(tasks.weight[:3])
    tiled = hn.HyperNetwork(nn.Conv2d(16, 16, 3), hn.TiledKernelGenerator(2), "weight")
    with pytest.raises(ValueError, match="TiledKernelGenerator takes no condition"):
        hn.ContinualRegularizer(tiled)


def forgetting(strength):
    """The loss on a first regression after a second one is learned."""
    torch.manual_seed(0)
    net, tasks, regularizer = made(strength=strength)
    nn.init.normal_(tasks.weight, 1.0, 0.3)  # alike, so that they share the trunk's units
    x = torch.randn(64, 5, dtype=torch.float64)
    wanted = [x @ torch.randn(5, 4, dtype=torch.float64) for _ in range(2)]

    def loss(task):
        return (net(x, condition=tasks(task)) - wanted[task]).square().mean()

    for task in range(2):
        optimiser = torch.optim.Adam([*net.generator.parameters(), *tasks.parameters()], 1e-2)
        for _ in range(150):
            optimiser.zero_grad()
            (loss(task) + regularizer(tasks.weight[:task] if task else None)).backward()
            optimiser.step()
        if task == 0:
            first = loss(0).item()
        regularizer.remember(tasks.weight[: task + 1])
    return first, loss(0).item(), loss(1).item()


def test_with_it_the_first_task_is_kept_while_the_second_is_learned():
    first, forgotten, _ = forgetting(1e-9)
    first_again, kept, second = forgetting(1.0)
    assert first == first_again
    assert forgotten > 5 * first
    assert kept < 2 * first
    assert second < 1.0


def through_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("kind", GENERATORS)
def test_the_state_is_complete(kind):
    """Old weights, of the generator and of the target that it acts on, and old conditions: all are in the state dict."""

    def fresh():
        net = hn.HyperNetwork(mlp(), GENERATORS[kind]())
        return net, hn.ContinualRegularizer(net, strength=0.3)

    net, regularizer = fresh()
    shake(net)
    conditions = torch.randn(2, C, dtype=torch.float64)
    regularizer.remember(conditions)
    shake(net)
    expected = regularizer(conditions + 0.1)
    other_net, other = fresh()
    other.remember(torch.randn(3, C, dtype=torch.float64))  # it has something else to forget
    for state in (regularizer.state_dict(), through_file(regularizer.state_dict())):
        other.load_state_dict(state)
        other_net.load_state_dict(net.state_dict())
        assert torch.equal(other(conditions + 0.1), expected)
    assert expected > 0


def test_a_resumed_run_is_the_uninterrupted_one():
    def learn(net, tasks, regularizer, task):
        torch.manual_seed(task)
        x = torch.randn(16, 5, dtype=torch.float64)
        optimiser = torch.optim.Adam([*net.generator.parameters(), *tasks.parameters()], 1e-2)
        for _ in range(5):
            optimiser.zero_grad()
            loss = (net(x, condition=tasks(task)) - x[:, :4]).square().mean()
            (loss + regularizer(tasks.weight[:task] if task else None)).backward()
            optimiser.step()
        regularizer.remember(tasks.weight[: task + 1])

    whole = made()
    learn(*whole, 0)
    for task in range(1, 3):
        resumed = made()
        for part, other in zip(resumed, whole, strict=True):
            part.load_state_dict(through_file(other.state_dict()))
        learn(*whole, task)
        learn(*resumed, task)
        for part, other in zip(resumed, whole, strict=True):
            for mine, theirs in zip(part.state_dict().values(), other.state_dict().values(), strict=True):
                assert torch.equal(mine, theirs)


def test_a_state_from_before_the_first_task():
    _, tasks, regularizer = made()
    state = through_file(regularizer.state_dict())
    _, _, other = made()
    other.remember(tasks.weight)
    other.load_state_dict(state)
    assert other(None) == 0


def test_a_state_that_does_not_fit():
    _, _, regularizer = made()
    _, _, other = made()
    other.old.generator = hn.HyperNetwork(mlp(), hn.FullGenerator(C, hidden=(7,))).generator
    with pytest.raises(RuntimeError, match=r"size mismatch for old\.generator\.trunk\.0\.weight"):
        regularizer.load_state_dict(other.state_dict())
    state = regularizer.state_dict() | {"old_conditions": torch.zeros(2, C + 1)}
    with pytest.raises(RuntimeError, match=r"size mismatch for old_conditions"):
        regularizer.load_state_dict(state)


def test_it_moves():
    net, tasks, regularizer = made()
    regularizer.remember(tasks.weight[:2])
    net.float(), tasks.float(), regularizer.float()
    shake(net)
    assert regularizer(tasks.weight[:2]).dtype == torch.float32
    regularizer.to("meta")
    with pytest.raises(
        ValueError, match=r"conditions are on cpu, but the remembered ones on meta: move the regulariser"
    ):
        regularizer(tasks.weight[:2])


@pytest.mark.parametrize(
    "make", [lambda p: torch.optim.SGD(p, 0.1), lambda p: torch.optim.Adam(p, 0.1), lambda p: torch.optim.AdamW(p, 0.1)]
)
def test_the_planned_step_is_the_step(make):
    net, tasks, _ = made()
    optimiser = make([*net.generator.parameters(), *tasks.parameters()])
    x = torch.randn(6, 5, dtype=torch.float64)
    for _ in range(3):  # the state of Adam counts, too
        optimiser.zero_grad()
        net(x, condition=tasks(1)).square().mean().backward()
        before = {name: p.detach().clone() for name, p in net.generator.named_parameters()}
        state = copy.deepcopy(optimiser.state_dict())
        step = hn.planned_step(optimiser, net.generator)
        assert all(torch.equal(p, before[name]) for name, p in net.generator.named_parameters())
        assert str(optimiser.state_dict()) == str(state)
        optimiser.step()
        for name, parameter in net.generator.named_parameters():
            assert torch.equal(parameter - before[name], step[name])


def test_the_look_ahead_is_equation_2():
    """Its value and gradient are those at Φ + ΔΦ, with ΔΦ constant."""
    net, tasks, regularizer = made(strength=0.3)
    regularizer.remember(tasks.weight[:2])
    shake(net)
    step = {name: 0.1 * torch.randn_like(p).requires_grad_() for name, p in net.generator.named_parameters()}
    ahead = regularizer(tasks.weight[:2], step=step)
    gradients = torch.autograd.grad(ahead, [*net.generator.parameters()])
    assert ahead > regularizer(tasks.weight[:2]) * 1.01 or ahead < regularizer(tasks.weight[:2]) * 0.99
    with torch.no_grad():
        for name, parameter in net.generator.named_parameters():
            parameter.add_(step[name])
    there = regularizer(tasks.weight[:2])
    close(ahead, there)
    for mine, theirs in zip(gradients, torch.autograd.grad(there, [*net.generator.parameters()]), strict=True):
        close(mine, theirs)
    with pytest.raises(ValueError, match=r"step should have one tensor for each .* not so: trunk\.0\.bias"):
        regularizer(tasks.weight[:2], step={n: t for n, t in step.items() if n != "trunk.0.bias"})
