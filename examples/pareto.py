"""All trade-offs between two tasks from one network: a preference generates the parameters of its best compromise.

    θ = g(r)                          r = (r_1, r_2): the preference, r_1 + r_2 = 1
    L = max_i r_i L_i(θ)              Chebyshev's scalarisation, least where r_1 L_1 = r_2 L_2

The tasks want θ near two opposite points ±a, and lose less and less the further θ is away:

    L_1 = 1 − exp(−‖θ − a‖²),   L_2 = 1 − exp(−‖θ + a‖²)        a = (1, …, 1) / √d

The best compromises, the Pareto front, are θ = t a for −1 ≤ t ≤ 1. In the plane of the losses this curve bends outwards, so
that no weighted sum Σ_i r_i L_i has its minimum in the middle of it. The quality of a front is its hypervolume: the area
between it and (1, 1). Navon et al., "Learning the Pareto front with hypernetworks", ICLR 2021; the tasks are those of Lin et
al., "Pareto multi-task learning", NeurIPS 2019.

python examples/pareto.py --seeds 5
"""

from collections.abc import Callable

import torch
from seeds import over_seeds
from torch import Tensor, nn

import hypernetworks as hn
from hypernetworks.errors import UsageError

SIZE, BATCH = 20, 64


class Tasks(nn.Module):
    """The two losses of a point θ."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(1, SIZE))

    def forward(self, wanted: Tensor) -> Tensor:
        """The losses (2,) for the points that the tasks want, (2, d)."""
        # L_i = 1 − exp(−‖θ − a_i‖²)
        return 1 - torch.exp(-(self.theta - wanted).square().sum(-1))


def losses(net: hn.HyperNetwork, preferences: Tensor) -> Tensor:
    """The losses (B, 2) for preferences (B, 2): each has a θ of its own."""
    a = torch.full((SIZE,), SIZE**-0.5)
    return net(torch.stack((a, -a)).expand(len(preferences), 2, SIZE), condition=preferences)


def chebyshev(r: Tensor, L: Tensor) -> Tensor:
    """max_i r_i L_i."""
    return (r * L).amax(1)


def weighted_sum(r: Tensor, L: Tensor) -> Tensor:
    """Σ_i r_i L_i."""
    return (r * L).sum(1)


def learn(scalarise: Callable[[Tensor, Tensor], Tensor], steps: int, rate: float) -> hn.HyperNetwork:
    """A hypernetwork for all preferences."""
    generator = hn.EncodedGenerator(hn.CosSinEncoder(2), hn.FullGenerator(4, hidden=(64, 64)))
    net = hn.HyperNetwork(Tasks(), generator)
    optimizer = torch.optim.Adam(net.generator.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        r_1 = torch.rand(BATCH, 1)
        r = torch.cat((r_1, 1 - r_1), dim=1)
        loss = scalarise(r, losses(net, r)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net


def hypervolume(points: Tensor) -> float:
    """The area that points (N, 2) dominate below (1, 1): Σ over the front of (1 − L_1) (the last L_2 − L_2)."""
    area, floor = 0.0, 1.0
    for first, second in sorted(points.tolist()):
        if second < floor and first < 1:
            # (1 − L_1) (the last L_2 − L_2)
            area += (1 - first) * (floor - second)
            floor = second
    return area


def front(points: int) -> Tensor:
    """Points of the true front, (points, 2)."""
    t = torch.linspace(-1, 1, points, dtype=torch.float64)
    return torch.stack((1 - torch.exp(-((t - 1) ** 2)), 1 - torch.exp(-((t + 1) ** 2))), dim=1)


def experiment(seed: int, steps: int, points: int, rate: float) -> dict[str, float]:
    """The hypervolume of the whole front and of what was learned, and how far r_1 L_1 and r_2 L_2 are from equal."""
    if points < 3:
        raise UsageError(f"points should be at least 3, got {points}: the imbalance leaves out both ends")
    r_1 = torch.linspace(0, 1, points).unsqueeze(1)
    r = torch.cat((r_1, 1 - r_1), dim=1)
    result = {"whole front": hypervolume(front(100_001))}
    for name, scalarise in (("Chebyshev", chebyshev), ("weighted sum", weighted_sum)):
        torch.manual_seed(seed)
        net = learn(scalarise, steps, rate)
        with torch.no_grad():
            L = losses(net, r)
        result[name] = hypervolume(L)
        weighed = (r * L)[1:-1]
        # |r_1 L_1 − r_2 L_2| / (r_1 L_1 + r_2 L_2)
        result[f"{name}, imbalance"] = ((weighed[:, 0] - weighed[:, 1]).abs() / weighed.sum(1)).mean().item()
    return result


if __name__ == "__main__":
    over_seeds(experiment, steps=1000, points=1001, rate=2e-3)
