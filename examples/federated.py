"""A network for each of many clients with few images of few classes, from one hypernetwork on the server.

    θ_i = g(e_i; φ)                                  the server generates client i's weights from its embedding e_i
    θ̃_i: after K steps of SGD on the client's own images, which never leave it
    (φ, e_i) ← (φ, e_i) + η (∂θ_i / ∂(φ, e_i))ᵀ (θ̃_i − θ_i)

The last line is the chain rule with the client's change of its weights as the direction. Here Adam takes the step. g learns
what the clients have in common, and e_i what is special in each. Shamsian et al., "Personalized federated learning using
hypernetworks", ICML 2021. Each client has two of the ten classes of CIFAR-10. For comparison, with as many steps of SGD:

    local      each client trains a network of its own
    FedAvg     one network, the mean of what the clients of a round made of it (McMahan et al. 2017)

python examples/federated.py --seeds 3        requires CIFAR-10 (fetched on first use; a part is enough)
"""

from copy import deepcopy

import torch
import torch.nn.functional as F
from seeds import over_seeds
from torch import Tensor, nn

import hypernetworks as hn
from hypernetworks.errors import UsageError
from hypernetworks.vision import load_images

BATCH, TOGETHER = 32, 5


class Client:
    """Its images to learn from and to be scored on, which stay with it."""

    def __init__(self, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> None:
        self.train, self.test = train, test

    def improve(self, model: nn.Module, steps: int, rate: float) -> nn.Module:
        """Train a model with SGD, and return it."""
        x, y = self.train
        sgd = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=5e-5)
        for _ in range(steps):
            i = torch.randint(len(x), (BATCH,))
            sgd.zero_grad()
            F.cross_entropy(model(x[i]), y[i]).backward()
            sgd.step()
        return model

    @torch.no_grad()
    def accuracy(self, model: nn.Module) -> float:
        """On the images that it is scored on, in per cent."""
        x, y = self.test
        return 100 * (model(x).argmax(1) == y).double().mean().item()


def make_clients(count: int, scored_on: str = "test") -> list[Client]:
    """Each has two classes. The images of a class are divided evenly among those who have it."""
    data = load_images("cifar10")
    seen, scored = [data.train, data.validation], data.test
    if scored_on == "validation":
        seen, scored = [data.train], data.validation
    x, y = torch.cat([part.images for part in seen]), torch.cat([part.labels for part in seen])
    splits = [((images.float() - 120) / 64, labels) for images, labels in ((x, y), (scored.images, scored.labels))]
    # a random order of the classes for every five clients
    classes = torch.cat([torch.randperm(10) for _ in range((count + 4) // 5)])[: 2 * count].view(count, 2).tolist()
    holders = [[client for client in range(count) if k in classes[client]] for k in range(10)]
    clients = []
    for client, own in enumerate(classes):
        parts = []
        for x, y in splits:
            shares = [(y == k).nonzero()[:, 0][holders[k].index(client) :: len(holders[k])] for k in own]
            if not all(len(share) for share in shares):
                raise UsageError(f"clients should be fewer, got {count}: some have no images of a class")
            parts.append((x[torch.cat(shares)], y[torch.cat(shares)]))
        clients.append(Client(*parts))
    return clients


def make_model() -> nn.Module:
    """A small convolutional network."""
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 5, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(32 * 36, 64), nn.ReLU(), nn.Linear(64, 10)),
    )


def local(clients: list[Client], rounds: int, steps: int, rate: float) -> float:
    """Mean accuracy if each client trains alone."""
    share = rounds * steps // len(clients)
    return sum(client.accuracy(client.improve(make_model(), share, rate)) for client in clients) / len(clients)


def averaged(clients: list[Client], rounds: int, steps: int, rate: float) -> float:
    """Mean accuracy of FedAvg's one network."""
    model = make_model()
    for _ in range(rounds // TOGETHER):
        chosen = torch.randperm(len(clients))[:TOGETHER].tolist()
        made = [clients[k].improve(deepcopy(model), steps, rate).state_dict() for k in chosen]
        model.load_state_dict({name: torch.stack([each[name] for each in made]).mean(0) for name in made[0]})
    return sum(client.accuracy(model) for client in clients) / len(clients)


def personalized(clients: list[Client], rounds: int, steps: int, rate: float, server_rate: float) -> float:
    """Mean accuracy of the networks that the hypernetwork generates, one for each client."""
    net = hn.HyperNetwork(make_model(), hn.FullGenerator(16, hidden=(64, 64)))
    embedding = hn.TaskEmbedding(len(clients), 16)
    optimizer = torch.optim.Adam([*net.generator.parameters(), *embedding.parameters()], lr=server_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, rounds)
    for _ in range(rounds):
        k = int(torch.randint(len(clients), ()))
        # θ_i = g(e_i; φ)
        weights = net.generate(embedding(k))
        sent = {name: value.detach() for name, value in weights.items()}
        back = dict(clients[k].improve(net.materialize(weights=sent), steps, rate).named_parameters())
        # (φ, e_i) ← (φ, e_i) + η (∂θ_i / ∂(φ, e_i))ᵀ (θ̃_i − θ_i)
        optimizer.zero_grad()
        torch.autograd.backward(list(weights.values()), [sent[name] - back[name].detach() for name in weights])
        optimizer.step()
        schedule.step()
    return sum(client.accuracy(net.materialize(embedding(k))) for k, client in enumerate(clients)) / len(clients)


def experiment(
    seed: int,
    clients: int,
    rounds: int,
    steps: int,
    local_rate: float,
    fedavg_rate: float,
    rate: float,
    server_rate: float,
    scored_on: str,
) -> dict[str, float]:
    """The mean accuracy over clients, in per cent."""
    made = make_clients(clients, scored_on)
    return {
        "local": local(made, rounds, steps, local_rate),
        "FedAvg": averaged(made, rounds, steps, fedavg_rate),
        "pFedHN": personalized(made, rounds, steps, rate, server_rate),
    }


if __name__ == "__main__":
    over_seeds(
        experiment,
        clients=20,
        rounds=200,
        steps=20,
        local_rate=1e-2,
        fedavg_rate=1e-2,
        rate=1e-2,
        server_rate=1e-4,
        scored_on=("test", "validation"),
    )
