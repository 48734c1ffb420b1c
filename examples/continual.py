"""Learn tasks in sequence without forgetting the first.

    L = L_task + λ / S Σ_t ‖g(e_t*; Φ*) − g(e_t; Φ)‖²          over S = 2 of the earlier tasks t, drawn at each step

One network learns one task at a time and never sees earlier tasks again. A chunked hypernetwork generates all its weights from
the embedding of the task. The regulariser penalises changes of the weights generated for earlier tasks. Which task an image
belongs to is given. Von Oswald et al., "Continual learning with hypernetworks", ICLR 2020.

    split       MNIST's digits in five pairs, 0 or 1, 2 or 3, and so on: even or odd?
    permuted    ten tasks, each MNIST with the pixels in another order: which digit?

python examples/continual.py --tasks split --seeds 5        requires MNIST (fetched on first use)
python examples/continual.py --strength 0                   without the regulariser, for comparison
python examples/continual.py --tasks permuted --width 256 --steps 5000 --chunk 16384
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from seeds import over_seeds
from torch import Tensor, nn

import hypernetworks as hn
from hypernetworks.vision import load_images

BATCH, SHIFT = 128, 1


@dataclass
class Task:
    """Training and test images (N, 1, 28, 28) in 0 … 1 with labels, and what is done to a batch of images."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    view: Callable[[Tensor], Tensor] = lambda x: x


def split() -> list[Task]:
    """Five pairs of digits. Labels: 0 for the even digit, 1 for the odd one."""
    train, test = mnist()
    pairs = [[(x[y // 2 == pair], y[y // 2 == pair] % 2) for x, y in (train, test)] for pair in range(5)]
    return [Task(*pair) for pair in pairs]


def permuted() -> list[Task]:
    """Ten orders of the pixels. The first is the usual one."""
    train, test = mnist()
    orders = [torch.arange(784), *(torch.randperm(784) for _ in range(9))]
    return [Task(train, test, lambda x, order=order: x.flatten(1)[:, order]) for order in orders]


def mnist() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """All 60,000 training digits and the 10,000 test digits."""
    data = load_images("mnist")
    both = [(part.images, part.labels) for part in (data.train, data.validation)]
    train = [torch.cat(parts) for parts in zip(*both, strict=True)]
    return (train[0].float() / 255, train[1]), (data.test.images.float() / 255, data.test.labels)


def moved(x: Tensor) -> Tensor:
    """The images moved by up to a pixel, all of a batch in the same direction."""
    down, right = torch.randint(-SHIFT, SHIFT + 1, (2,)).tolist()
    return x.roll((down, right), (2, 3))


@torch.no_grad()
def accuracy(net: hn.HyperNetwork, condition: Tensor, task: Task) -> float:
    """Accuracy on a task's test digits, in per cent."""
    x, y = task.test
    return 100 * (net(task.view(x), condition=condition).argmax(1) == y).double().mean().item()


def learn(
    tasks: list[Task], strength: float, steps: int, width: int, rate: float, chunk: int
) -> tuple[list[float], list[float]]:
    """Accuracy on each task just after it was learned, and after the last one. `strength` is λ; 0 means no regulariser."""
    classes = max(int(y.max()) for _, y in (task.train for task in tasks)) + 1
    target = nn.Sequential(
        nn.Flatten(), nn.Linear(784, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, classes)
    )
    embedding = hn.TaskEmbedding(len(tasks), size=32)
    net = hn.HyperNetwork(target, hn.ChunkedGenerator(32, chunk_size=chunk, embedding_size=32, hidden=(64,)))
    regularizer = hn.ContinualRegularizer(net, strength, tasks_per_step=2) if strength else None
    just_after = []
    for t, task in enumerate(tasks):
        x, y = task.train
        optimizer = torch.optim.Adam([*net.generator.parameters(), *embedding.parameters()], lr=rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            i = torch.randint(len(x), (BATCH,))
            loss = F.cross_entropy(net(task.view(moved(x[i])), condition=embedding(t)), y[i])
            if regularizer:
                loss = loss + regularizer(embedding.weight[:t])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if regularizer:
            regularizer.remember(embedding.weight[: t + 1])
        just_after.append(accuracy(net, embedding(t), task))
    return just_after, [accuracy(net, embedding(t), task) for t, task in enumerate(tasks)]


def experiment(
    seed: int, tasks: str, steps: int, strength: float, width: int, rate: float, chunk: int
) -> dict[str, float]:
    """The mean accuracy of tasks just after each was learned, and of all after the last one, in per cent."""
    made = {"split": split, "permuted": permuted}[tasks]()
    just_after, at_the_end = learn(made, strength, steps, width, rate, chunk)
    result = {}
    for name, values in (("just after each task", just_after), ("after all tasks", at_the_end)):
        print(f"  {name:22}" + "".join(f"{value:7.2f}" for value in values), flush=True)
        result[name] = sum(values) / len(values)
    return result


if __name__ == "__main__":
    over_seeds(experiment, tasks=("split", "permuted"), steps=2000, strength=0.01, width=100, rate=2e-3, chunk=4096)
