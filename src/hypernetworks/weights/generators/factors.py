"""Low-rank matrices in factors, and learning to generate given ones.

    ΔW = s B A                                             s scale, B (n_out, r), A (r, rest)
    L = mean over matrices of ‖ΔW − ΔW*‖² / ‖ΔW*‖²         ΔW* the given ones, such as a LoRA of each task

The norms come from r × r matrices, so no product is made:

    ‖B A‖² = tr((BᵀB) (A Aᵀ)),    ΔW − ΔW* = [s B, −s* B*] [A; A*]
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Factors(NamedTuple):
    """A low-rank matrix in factors, ΔW = s B A, or one per sample.

    Example:
        >>> factors = hn.Factors(A=torch.randn(2, 30), B=torch.randn(20, 2), scale=0.5)
        >>> factors.product().shape
        torch.Size([20, 30])
    """

    A: Tensor
    """(r, rest) or (N, r, rest)."""
    B: Tensor
    """(n_out, r) or (N, n_out, r)."""
    scale: float
    """s, in LoRA α / r."""

    def product(self) -> Tensor:
        """The matrix s B A: (n_out, rest), or (N, n_out, rest)."""
        return self.scale * (self.B @ self.A)

    def square(self) -> Tensor:
        """‖s B A‖²: (), or (N,)."""
        # ‖B A‖² = tr((BᵀB) (A Aᵀ))
        return self.scale**2 * ((self.B.mT @ self.B) * (self.A @ self.A.mT)).sum((-2, -1))

    def minus(self, other: "Factors") -> "Factors":
        """The difference s B A − s* B* A* in factors, whose ranks add up."""
        # [s B, −s* B*] [A; A*]
        return Factors(
            torch.cat((self.A, other.A), dim=-2), torch.cat((self.scale * self.B, -other.scale * other.B), dim=-1), 1.0
        )


def stack_factors(tasks: Sequence[Mapping[str, Factors]]) -> dict[str, Factors]:
    """The factors of N tasks, each by name, as one set with a leading dimension N. Smaller ranks are filled up with zeros.

    Args:
        tasks: for instance results of `interop.load_peft`.

    Raises:
        ValueError: there are none, or the names or shapes of the matrices differ.

    Example:
        >>> one = {"weight": hn.Factors(torch.randn(2, 5), torch.randn(3, 2), 1.0)}
        >>> two = {"weight": hn.Factors(torch.randn(4, 5), torch.randn(3, 4), 0.5)}
        >>> hn.stack_factors([one, two])["weight"].A.shape
        torch.Size([2, 4, 5])
    """
    if not tasks:
        raise ValueError("the factors of at least one task are needed, got none")
    first = tasks[0]
    for k, task in enumerate(tasks):
        if odd := task.keys() ^ first.keys():
            raise ValueError(f"tasks 0 and {k} should have the same matrices, but not so: {', '.join(sorted(odd))}")
    stacked = {}
    for name in first:
        matrices = [task[name] for task in tasks]
        shapes = {(matrix.B.shape[0], matrix.A.shape[1]) for matrix in matrices}
        if len(shapes) > 1:
            raise ValueError(f"{name} should have one shape in all tasks, got {', '.join(map(str, sorted(shapes)))}")
        rank = max(len(matrix.A) for matrix in matrices)
        A = torch.stack([F.pad(matrix.A, (0, 0, 0, rank - len(matrix.A))) for matrix in matrices])
        B = torch.stack([F.pad(matrix.scale * matrix.B, (0, rank - len(matrix.A))) for matrix in matrices])
        stacked[name] = Factors(A, B, 1.0)
    return stacked


def reconstruction_loss(made: Mapping[str, Factors], wanted: Mapping[str, Factors]) -> Tensor:
    """How far generated low-rank matrices are from given ones: the mean of ‖ΔW − ΔW*‖² / ‖ΔW*‖² over matrices and tasks.

    It compares products, since different factors can have the same product, but makes none. ΔW = 0 gives 1. In float32 it is
    exact to about 1e-6.

    Args:
        made: from `generator.factors(conditions)` with conditions (N, C), or (C,) for one task.
        wanted: the given ones, as of `stack_factors`, or of one task. None may be zero.

    Raises:
        ValueError: there are none, or the names differ.

    Source: Charakorn et al., "Text-to-LoRA", arXiv 2506.06105, whose training by reconstruction compares factors.

    Example:
        >>> net = hn.HyperNetwork(torch.nn.Linear(5, 3), hn.LowRankGenerator(8, rank=2), "weight")
        >>> wanted = {"weight": hn.Factors(torch.randn(2, 5), torch.randn(3, 2), 1.0)}
        >>> hn.reconstruction_loss(net.generator.factors(torch.randn(8)), wanted).item()      # at first ΔW is 0
        1.0
    """
    if not wanted:
        raise ValueError("wanted should have at least one matrix, got none")
    if odd := made.keys() ^ wanted.keys():
        raise ValueError(f"made and wanted should have the same matrices, but not so: {', '.join(sorted(odd))}")
    # ‖ΔW − ΔW*‖² / ‖ΔW*‖²
    return torch.stack([made[name].minus(wanted[name]).square() / wanted[name].square() for name in wanted]).mean()
