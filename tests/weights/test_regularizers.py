"""The continual-learning regulariser: its formula, its subsampling, and that it keeps old tasks."""

import pytest
import torch
from torch import nn

import hypernetworks as hn

from .targets import C, close, mlp, shake


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
