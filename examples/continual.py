"""Learn five tasks in sequence without forgetting the first.

    L = L_task + λ / T Σ_t ‖g(e_t*; Φ*) − g(e_t; Φ)‖²

The tasks are MNIST's digits in five pairs: 0 or 1, 2 or 3, and so on. One network learns one pair at a time and never sees
earlier pairs again. A chunked hypernetwork generates all its weights from the embedding of the pair. The regulariser penalises
changes of the weights generated for earlier pairs. Von Oswald et al., "Continual learning with hypernetworks", ICLR 2020.

python examples/continual.py        requires MNIST (fetched on first use); takes twenty seconds
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import hypernetworks as hn
from hypernetworks.vision import load_images

PAIRS = 5
STEPS, BATCH = 300, 128


def pairs(images, count: int) -> list[tuple[Tensor, Tensor]]:
    """For each pair its images, scaled to 0 … 1, and labels: 0 for the even digit, 1 for the odd digit."""
    x, y = images.images[:count].float() / 255, images.labels[:count]
    return [(x[y // 2 == pair], y[y // 2 == pair] % 2) for pair in range(PAIRS)]


@torch.no_grad()
def accuracy(net: hn.HyperNetwork, tasks: hn.TaskEmbedding, task: int, test: tuple[Tensor, Tensor]) -> float:
    """Accuracy on a pair's test digits, in per cent."""
    x, y = test
    return 100 * (net(x, condition=tasks(task)).argmax(1) == y).double().mean().item()


def learn(strength: float, train, test) -> tuple[list[float], list[float]]:
    """Accuracy on each pair just after it was learned, and after the last pair. `strength` is λ; 0 means no regulariser."""
    torch.manual_seed(0)
    target = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 2))
    tasks = hn.TaskEmbedding(PAIRS, size=16)
    net = hn.HyperNetwork(target, hn.ChunkedGenerator(16, chunk_size=2048, embedding_size=16))
    regularizer = hn.ContinualRegularizer(net, strength) if strength else None
    just_after = []
    for task, (x, y) in enumerate(train):
        optimizer = torch.optim.Adam([*net.generator.parameters(), *tasks.parameters()], lr=1e-3)
        for _ in range(STEPS):
            i = torch.randint(len(x), (BATCH,))
            loss = F.cross_entropy(net(x[i], condition=tasks(task)), y[i])
            if regularizer:
                loss = loss + regularizer(tasks.weight[:task])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if regularizer:
            regularizer.remember(tasks.weight[: task + 1])
        just_after.append(accuracy(net, tasks, task, test[task]))
    return just_after, [accuracy(net, tasks, task, test[task]) for task in range(PAIRS)]


def main() -> dict[str, float]:
    """The forgetting without and with the regulariser: the mean loss of accuracy on the first four pairs."""
    data = load_images("mnist")
    train, test = pairs(data.train, 20_000), pairs(data.test, 10_000)
    forgetting = {}
    for name, strength in (("without", 0.0), ("with", 1.0)):
        just_after, at_the_end = learn(strength, train, test)
        print(f"{name} the regulariser, % right of the test digits of each pair")
        for title, values in (("  just after it was learned", just_after), ("  after all five", at_the_end)):
            print(f"{title:28}" + "".join(f"{value:8.1f}" for value in values))
        lost = [before - after for before, after in zip(just_after, at_the_end, strict=True)][:-1]
        forgetting[name] = sum(lost) / len(lost)
        print(f"  forgotten, mean of the first four: {round(forgetting[name], 1) + 0.0:.1f}")
    return forgetting


if __name__ == "__main__":
    main()
