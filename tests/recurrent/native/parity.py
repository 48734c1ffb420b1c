"""Comparison of two paths: everything that a network returns, and every gradient."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import hypernetworks as hn
from hypernetworks.recurrent.native.op import LayerOp
from hypernetworks.recurrent.native.stepper import OneStep

from ..families import FAMILIES, Family, tensors


def has_kernels(family: Family) -> bool:
    cell = family.cell()
    return cell.native is not None and cell.native_parameters() is not None


NATIVE = {name: family for name, family in FAMILIES.items() if has_kernels(family)}
native_families = pytest.mark.parametrize("family", NATIVE.values(), ids=NATIVE.keys())
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
both_dtypes = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float64", "float32"])


def network_of(family: Family, input_size: int, hidden_size: int, dtype=torch.float64, **options: Any) -> Any:
    """A network of this family whose parameters are all random, of a size that amplifies no rounding."""
    network = family.network_type(input_size, hidden_size, dtype=dtype, **(family.options | options))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.3 / max(parameter.shape[-1], 4) ** 0.5)
        for name, parameter in network.named_parameters():
            if name.endswith("gain"):
                parameter.add_(1)
    return network


def state_of(network: Any, batch: int, dtype=torch.float64, *, batched: bool = True) -> tuple[Tensor, ...]:
    leading = (len(network.cells), batch) if batched else (len(network.cells),)
    return tuple(torch.randn(*leading, size, dtype=dtype).mul_(0.5) for size in network.cell(0).state_sizes)


def given(network: Any, state: Sequence[Tensor]) -> Any:
    return state[0] if network.cell(0).state_type is None else tuple(state)


def both(
    network: nn.Module, run: Callable[[], Any], wrt: Sequence[Tensor], path: str = "native", keep=lambda n: True
) -> tuple[list[Tensor], list[Tensor]]:
    """What run() gives, and the gradients of a random sum of it, on the path and on the reference, from the same seed."""
    answers = []
    for name in (path, "reference"):
        torch.manual_seed(1)
        with hn.use_backend(name):
            output, state = run()
        output = output.data if isinstance(output, nn.utils.rnn.PackedSequence) else output
        outputs = [output, *tensors(state)]
        wanted = [tensor for tensor in wrt if tensor.requires_grad]
        torch.manual_seed(2)
        cotangents = [torch.randn_like(tensor) for tensor in outputs]
        kept = [k for k in range(len(outputs)) if keep(k)]
        grads: Sequence[Tensor] = ()
        if wanted:
            grads = torch.autograd.grad(
                [outputs[k] for k in kept],
                wanted,
                [cotangents[k] for k in kept],
                allow_unused=True,
                materialize_grads=True,
            )
        answers.append([*outputs, *grads])
    return answers[0], answers[1]


def worst(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    """The largest max|a − b| / max(1, max|b|) of all tensors; NaN counts as infinite."""
    assert len(ours) == len(theirs)
    errors = [0.0]
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        error = (a - b).abs().max().item() / max(1.0, b.abs().max().item()) if a.numel() else 0.0
        errors.append(error if error == error else float("inf"))
    return max(errors)


class Spy:
    """Counts how often the native path is taken."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.layers = self.steps = 0
        layer, step = LayerOp.__call__, OneStep.__call__

        def counted_layer(op, *arguments):
            self.layers += 1
            return layer(op, *arguments)

        def counted_step(one_step, *arguments):
            self.steps += 1
            return step(one_step, *arguments)

        monkeypatch.setattr(LayerOp, "__call__", counted_layer)
        monkeypatch.setattr(OneStep, "__call__", counted_step)


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    return Spy(monkeypatch)
