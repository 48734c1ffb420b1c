"""A report on a hypernetwork: variances of the generated tensors, parameter counts, compression.

Var(W) = E[(W − E W)²]              over conditions and entries of one tensor
compression = generated numbers / stored numbers
"""

from html import escape
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from hypernetworks.weights.network import HyperNetwork


class GeneratedWeight(NamedTuple):
    """One generated tensor."""

    name: str
    shape: tuple[int, ...]
    variance: float
    """The variance over the conditions and all entries."""
    target_variance: float
    """The variance of the target's own tensor."""
    spread: float
    """The variance between conditions, averaged over the entries, as a part of `variance`: 0 if the condition has no effect."""
    change: float
    """‖W − W_target‖ / ‖W_target‖, the root of the mean square over conditions; infinite for a target of zeros that changes."""


class WeightReport(NamedTuple):
    """The result of `HyperNetwork.weight_report`. `print` shows it as a table.

    Example:
        >>> net = hn.HyperNetwork(torch.nn.Linear(30, 20), hn.ChunkedGenerator(2, chunk_size=64, hidden=()))
        >>> net.weight_report().weights[0].shape
        (20, 30)
    """

    weights: tuple[GeneratedWeight, ...]
    generated: int
    """Numbers generated for one condition."""
    generator: int
    """Parameters of the generator, embeddings included."""
    base: int
    """Numbers in the target's own tensors that the generator acts on."""
    rest: int
    """Parameters of the target that are not generated."""

    @property
    def compression(self) -> float:
        """Generated numbers divided by stored numbers: the generator's and those of the target that it acts on."""
        return self.generated / (self.generator + self.base)

    def scalars(self) -> dict[str, float]:
        """Numbers to log while training, by names such as "0.weight/spread".

        Of each tensor: "deviation" (the root of its variance), "spread" and "change", see `GeneratedWeight`.

        Example:
            >>> net = hn.HyperNetwork(torch.nn.Linear(30, 20), hn.FullGenerator(2), "weight")
            >>> sorted(net.weight_report().scalars())
            ['weight/change', 'weight/deviation', 'weight/spread']

            With TensorBoard:
            `for name, value in net.weight_report().scalars().items(): writer.add_scalar(name, value, step)`
        """
        made = {}
        for weight in self.weights:
            made[f"{weight.name}/deviation"] = weight.variance**0.5
            made[f"{weight.name}/spread"] = weight.spread
            made[f"{weight.name}/change"] = weight.change
        return made

    def __str__(self) -> str:
        width = max(len(weight.name) for weight in self.weights)
        lines = [f"{'tensor':<{width}}  {'shape':<18}{'variance':>10}{'target':>10}"]
        for name, shape, variance, target, *_ in self.weights:
            lines.append(f"{name:<{width}}  {'×'.join(map(str, shape)):<18}{variance:>10.3g}{target:>10.3g}")
        return "\n".join([*lines, self._counts()])

    def _repr_html_(self) -> str:
        """The table, as a notebook shows it."""
        heads = "".join(f"<th>{head}</th>" for head in ("tensor", "shape", "variance", "target", "spread", "change"))
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{'×'.join(map(str, shape))}</td>"
            + "".join(f"<td>{figure:.3g}</td>" for figure in figures)
            + "</tr>"
            for name, shape, *figures in self.weights
        )
        return f"<table><tr>{heads}</tr>{rows}</table><p>{self._counts()}</p>"

    def _counts(self) -> str:
        counts = f"{self.generated:,} numbers from {self.generator:,}"
        own = f" and {self.base:,} of the target's own" if self.base else ""
        return f"{counts}{own}, compression {self.compression:.3g}; {self.rest:,} parameters not generated"


@torch.no_grad()
def report(net: "HyperNetwork", condition: Tensor | None) -> WeightReport:
    """Report on a hypernetwork at these conditions, or at 64 draws from N(0, 1)."""
    size = net.generator.condition_size
    own = {name: net.target.get_parameter(name) for name in net.generator.names}
    if condition is None and size is not None:
        like = next(net.generator.parameters())
        drawn = torch.randn(64, size, generator=torch.Generator().manual_seed(0))
        condition = drawn.to(device=like.device, dtype=like.dtype)
    made = net.generate(condition)
    weights = tuple(
        GeneratedWeight(
            name,
            tuple(own[name].shape),
            _variance(tensor),
            _variance(own[name]),
            *_spread_and_change(tensor, own[name]),
        )
        for name, tensor in made.items()
    )
    return WeightReport(
        weights,
        generated=sum(tensor.numel() for tensor in own.values()),
        generator=sum(parameter.numel() for parameter in net.generator.parameters()),
        base=sum(own[name].numel() for name in own if net.generator.uses_base(name)),
        rest=sum(parameter.numel() for name, parameter in net.target.named_parameters() if name not in own),
    )


def _variance(tensor: Tensor) -> float:
    return tensor.double().var(correction=0).item()


def _spread_and_change(made: Tensor, own: Tensor) -> tuple[float, float]:
    """Both for tensors (*shape) or (N, *shape), and the target's own (*shape)."""
    made, own = made.double().reshape(-1, *own.shape), own.double()
    variance, square = made.var(correction=0), own.square().sum()
    between = made.var(0, correction=0).mean()
    change = (made - own).square().sum() / len(made)
    spread = (between / variance).item() if variance > 0 else 0.0
    return spread, ((change / square).sqrt().item() if square > 0 else (float("inf") if change > 0 else 0.0))
