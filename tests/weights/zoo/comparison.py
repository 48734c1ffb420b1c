"""Compares a HyperNetwork with the reference: outputs, all gradients, and what is left of the target."""

import copy
from fnmatch import fnmatch
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import hypernetworks as hn

from ..loops import served
from .architecture import Architecture, B
from .reference import in_copies, tensors

C = 3


def _everything(name: str, module: nn.Module, own: str) -> bool:
    return True


def _matrices(name: str, module: nn.Module, own: str) -> bool:
    """Matrices and kernels, and what has as many dimensions but one row or column."""
    return module._parameters[own].dim() >= 2


def _of_rank_two(name: str, module: nn.Module, own: str) -> bool:
    """Matrices and kernels that have a low rank."""
    value = module._parameters[own]
    return value.dim() >= 2 and min(len(value), value[0].numel()) >= 2


def _small(name: str, module: nn.Module, own: str) -> bool:
    """Biases and the parameters of norms, and tables."""
    return module._parameters[own].dim() < 2 or isinstance(module, nn.Embedding)


GENERATORS = {
    "chunked": (lambda: hn.ChunkedGenerator(C, chunk_size=500, hidden=(8,)), _everything),
    "full": (lambda: hn.FullGenerator(C, hidden=()), _small),
    "low-rank": (lambda: hn.LowRankGenerator(C, rank=2, hidden=()), _of_rank_two),
    "row-scale": (lambda: hn.RowScaleGenerator(C), _everything),
    "chain": (
        lambda: hn.GeneratorChain(
            hn.ResidualGenerator(hn.ChunkedGenerator(C, chunk_size=500, hidden=(8,)), scale=0.1),
            hn.RowScaleGenerator(C),
        ),
        _matrices,
    ),
}
"""Generators that differ in how they make weights, each with what it generates."""


def network(architecture: Architecture, generator: str, train: bool, per_sample: bool) -> hn.HyperNetwork:
    """The architecture with generated weights, which differ clearly between conditions."""
    make, chosen = GENERATORS[generator]
    target = architecture.build()
    without = architecture.alone if per_sample else ()

    def selected(name: str, module: nn.Module, own: str) -> bool:
        inside = any(fnmatch(f"{name}.{own}", glob) for glob in architecture.part)
        return inside and not any(fnmatch(f"{name}.{own}", glob) for glob in without) and chosen(name, module, own)

    net = hn.HyperNetwork(target, make(), selected)
    with torch.no_grad():
        for parameter in net.generator.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net.double().train(train)


class Snapshot:
    """What a target has: the attributes of each module by their identity, and of parameters the values."""

    def __init__(self, target: nn.Module) -> None:
        self.modules = list(target.modules())
        self.attributes: list[dict[str, Any]] = []
        for module in self.modules:
            own: dict[str, Any] = {name: id(value) for name, value in vars(module).items()}
            for name, value in vars(module).items():
                if isinstance(value, dict):
                    own[f"in {name}"] = {key: id(each) for key, each in value.items()}
                elif isinstance(value, list | set):
                    own[f"in {name}"] = [id(each) for each in value]
            self.attributes.append(own)
        self.values = {name: value.detach().clone() for name, value in target.named_parameters()}

    def check(self, target: nn.Module, after: nn.Module) -> None:
        """Check that the target is as it was, but for the values of buffers, which are those of `after`."""
        now = Snapshot(target)
        assert self.modules == now.modules
        for module, old, new in zip(self.modules, self.attributes, now.attributes, strict=True):
            assert old == new, f"{type(module).__name__} has changed"
        for name, value in self.values.items():
            assert torch.equal(value, now.values[name]), name
        expected = dict(after.named_buffers())
        for name, buffer in target.named_buffers():
            close(name, buffer, expected[name], 1e-12 if buffer.dtype == torch.float64 else 1e-6)


def close(what: str, a: Tensor, b: Tensor, tol: float, floor: float = 1.0) -> None:
    """Check that two tensors agree up to `tol` times the largest number of the second, or `floor` if that is larger."""
    assert a.shape == b.shape, what
    assert a.dtype == b.dtype, what
    if a.numel():
        scale = max(floor, b.abs().max().item())
        error = (a - b).abs().max().item()
        assert error <= tol * scale, f"{what}: {error:.3g} at a scale of {scale:.3g}"


def leaves_of(given: dict[str, Any]) -> dict[str, Tensor]:
    """The inputs that have gradients."""
    return {name: value for name, value in given.items() if isinstance(value, Tensor) and value.is_floating_point()}


def with_gradients(given: dict[str, Any]) -> dict[str, Any]:
    """Copies of the inputs, which take gradients where they can."""
    return {
        name: value.clone().requires_grad_() if name in leaves_of(given) else value for name, value in given.items()
    }


def compare(architecture: Architecture, generator: str, train: bool, per_sample: bool, masked: bool) -> str:
    """Compare outputs, all gradients and the target after the call. Returns how weights per sample were served."""
    net = network(architecture, generator, train, per_sample)
    twin = copy.deepcopy(net)
    c = torch.randn(B, C, dtype=torch.float64) if per_sample else torch.randn(C, dtype=torch.float64)
    given = architecture.batch(masked)
    mine, theirs = (with_gradients(given if architecture.differentiable else {}) for _ in range(2))
    mine, theirs = (given | own | with_gradients({"condition": c}) for own in (mine, theirs))
    before = Snapshot(net.target)

    y = tensors(net(**mine))

    own = {name: value for name, value in theirs.items() if name != "condition"}
    condition = theirs["condition"]
    if per_sample:
        batches, conditions = [architecture.one(own, n) for n in range(B)], list(condition)
    else:
        batches, conditions = [own], [condition]
    parts, after = in_copies(twin, batches, conditions)
    expected = [torch.cat(each, architecture.dim) for each in zip(*parts, strict=True)]

    tol = 1e-5 if architecture.loose else 1e-10
    assert len(y) == len(expected)
    for k, (a, b) in enumerate(zip(y, expected, strict=True)):
        close(f"output {k}", a, b, tol)
    before.check(net.target, after if train else twin.target)

    real = [k for k, part in enumerate(y) if part.requires_grad]
    assert real
    cotangents = [torch.randn_like(y[k]) for k in real]
    torch.autograd.backward([y[k] for k in real], cotangents)
    torch.autograd.backward([expected[k] for k in real], cotangents)
    gradients = {name: (value.grad, theirs[name].grad) for name, value in leaves_of(mine).items()} | {
        name: (value.grad, twin.get_parameter(name).grad) for name, value in net.named_parameters()
    }
    largest = max(b.abs().max().item() for _, b in gradients.values() if b is not None)
    assert gradients["condition"][1].abs().max() > 1e-3 * min(1.0, largest), "the condition should have an effect"
    for name, (a, b) in gradients.items():
        assert (a is None) == (b is None), name
        if a is not None and b is not None:
            close(f"gradient of {name}", a, b, tol, 1e-2 * largest)
    before.check(net.target, after if train else twin.target)
    return ("activations" if served(net) else "vmap") if per_sample else ""


def gradients(net: hn.HyperNetwork, given: dict[str, Any], c: Tensor) -> dict[str, Tensor]:
    """The gradients of a fixed function of all outputs."""
    net.zero_grad()
    torch.manual_seed(0)
    outputs = tensors(net(**given, condition=c))
    torch.stack([(y * torch.randn_like(y)).sum() for y in outputs if y.requires_grad]).sum().backward()
    return {name: value.grad.clone() for name, value in net.named_parameters() if value.grad is not None}


def checkpointed(architecture: Architecture, per_sample: bool) -> str:
    """Compare the gradients with those with gradient checkpointing: "yes". "no": the architecture has none.

    Under torch.func.vmap there is none either: "an error" says so. It names requires_grad_() where a hook of transformers on
    the embeddings calls that, before the first checkpoint.
    """
    net = network(architecture, "low-rank", True, per_sample)
    if not architecture.can_checkpoint(net.target):
        return "no"
    given = architecture.batch(masked=True)
    c = torch.randn(*((B, C) if per_sample else (C,)), dtype=torch.float64)
    expected = gradients(net, given, c)
    twin = copy.deepcopy(net)
    twin.target = architecture.checkpoint(twin.target)
    twin._remember()
    if per_sample and not served(net):
        with pytest.raises(RuntimeError, match=r"(torch\.utils\.checkpoint|requires_grad_\(\)).*A loop always can"):
            gradients(twin, given, c)
        return "an error"
    for name, gradient in gradients(twin, given, c).items():
        close(f"gradient of {name}", gradient, expected.pop(name), 1e-5 if architecture.loose else 1e-10)
    assert not expected
    return "yes"


def autocast(architecture: Architecture, generator: str) -> str:
    """Under autocast in bfloat16, one set per sample is as close to float64 as a loop is. Returns the dtype of the outputs,
    which is that of a loop.
    """
    net = network(architecture, generator, False, True)
    given, c = architecture.batch(masked=True), torch.randn(B, C, dtype=torch.float64)
    with torch.no_grad():
        exact = tensors(net(**given, condition=c))
        net.float()
        low = {name: value.float() if name in leaves_of(given) else value for name, value in given.items()}
        with torch.autocast("cpu", torch.bfloat16):
            y = tensors(net(**low, condition=c.float()))
            parts, _ = in_copies(net, [architecture.one(low, n) for n in range(B)], list(c.float()))
    for k, (a, *each) in enumerate(zip(y, *parts, strict=True)):
        b = torch.cat(each, architecture.dim)
        assert a.dtype == b.dtype, f"output {k}: {a.dtype} instead of {b.dtype}"
        # root mean squares: a largest error of few numbers is twice as large as another by chance
        error, usual, size = (part.square().mean().sqrt().item() for part in (a - exact[k], b - exact[k], exact[k]))
        limit = 2 * usual + 0.01 * size
        assert error <= limit, f"output {k}: {error:.3g} where a loop has {usual:.3g}"
    return str(y[0].dtype).removeprefix("torch.")
