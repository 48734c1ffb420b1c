"""Generate a LoRA update for a frozen network from a task embedding.

    W_t = W + (α / r) B(e_t) A(e_t)          e_t: the embedding of task t;  W: the weight of the frozen network

A digit classifier is trained on upright digits and then frozen. Each task shows it the digits transformed in a new way: turned,
mirrored, transposed or moved. One hypernetwork learns all tasks together. From 8 numbers per task it generates an update of
rank 8 for each layer.

python examples/lora.py        requires MNIST (fetched on first use); takes ten seconds
"""

import torch
import torch.nn.functional as F
from seeds import Parser, or_one_line
from torch import Tensor, nn

import hypernetworks as hn
from hypernetworks.vision import load_images

TASKS = {
    "upright": lambda x: x,
    "turned by 90°": lambda x: x.rot90(1, (2, 3)),
    "upside down": lambda x: x.flip(2),
    "mirrored": lambda x: x.flip(3),
    "transposed": lambda x: x.mT,
    "moved down by 6": lambda x: x.roll(6, 2),
}
BASE_STEPS, STEPS, BATCH = 500, 2000, 64


def digits(images, count: int) -> tuple[Tensor, Tensor]:
    """The first `count` images, scaled to 0 … 1, and their labels."""
    return images.images[:count].float() / 255, images.labels[:count]


def fit(parameters, loss_of, steps: int) -> None:
    """Train with Adam."""
    optimizer = torch.optim.Adam(parameters, lr=2e-3)
    for step in range(steps):
        optimizer.zero_grad()
        loss_of(step).backward()
        optimizer.step()


@torch.no_grad()
def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Per cent of correct predictions."""
    return 100 * (logits.argmax(1) == labels).double().mean().item()


def main() -> dict[str, tuple[float, float]]:
    """For each task, the accuracy of the frozen network alone, and with the task's update."""
    torch.manual_seed(0)
    data = load_images("mnist")
    x, y = digits(data.train, 20_000)
    x_test, y_test = digits(data.test, 2_000)

    base = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))

    def base_loss(step: int) -> Tensor:
        i = torch.randint(len(x), (BATCH,))
        return F.cross_entropy(base(x[i]), y[i])

    fit(base.parameters(), base_loss, BASE_STEPS)
    base.requires_grad_(False)
    frozen = [p.clone() for p in base.parameters()]

    tasks = hn.TaskEmbedding(len(TASKS), size=8)
    net = hn.HyperNetwork(base, hn.LowRankGenerator(8, rank=8, hidden=(32,)), modules="*.weight")
    shown = list(TASKS.values())

    def task_loss(step: int) -> Tensor:
        i, task = torch.randint(len(x), (BATCH,)), step % len(shown)
        return F.cross_entropy(net(shown[task](x[i]), condition=tasks(task)), y[i])

    fit([*net.generator.parameters(), *tasks.parameters()], task_loss, STEPS)
    assert all(torch.equal(p, before) for p, before in zip(base.parameters(), frozen, strict=True))

    result = {}
    print(f"{'task':16}{'frozen net':>12}{'with its LoRA':>16}   % right of 2,000 test digits")
    for task, (name, show) in enumerate(TASKS.items()):
        alone, with_update = base(show(x_test)), net(show(x_test), condition=tasks(task)).detach()
        result[name] = accuracy(alone, y_test), accuracy(with_update, y_test)
        print(f"{name:16}{result[name][0]:12.1f}{result[name][1]:16.1f}")
    return result


if __name__ == "__main__":
    parser = Parser(
        description="Generate a LoRA update for a frozen classifier of digits, from the embedding of each task."
    )
    parser.parse_args()
    or_one_line(parser, main)
