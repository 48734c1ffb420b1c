"""A layer as an operator of torch: schema, kernel, fake kernel and backward, from a description of its tensors.

    hypernetworks::NAME(inputs, mask, batch_sizes, reverse, eps, save) -> answer, saved
    hypernetworks::NAME_backward(gradients of the answer, the same inputs, answer and saved) -> gradients of the inputs

so that it works with autograd, under torch.compile and torch.export. All shapes are checked before a kernel is run: it then
reads and writes within the given tensors, whatever is passed.
"""

import functools
import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .call import SUFFIX, Kernel
from .huge_pages import on_huge_pages

Tensors = dict[str, Tensor | None]
Shapes = dict[str, tuple[int, ...]]


class LayerOp(ABC):
    """An operator that runs one layer of a recurrent network over all time steps.

    A subclass names its tensors: `states` and `weights` are inputs, in the order of the schema, of which those in `optional`
    may be None; `answer` is the output and the state after the last step; `saved` is what the backward pass needs besides.
    """

    name: str
    struct: str
    states: tuple[str, ...]
    weights: tuple[str, ...]
    optional: tuple[str, ...]
    together: tuple[tuple[str, ...], ...] = ()
    """Groups of inputs that are given all or not at all."""
    answer: tuple[str, ...]
    saved: tuple[str, ...]
    settings: tuple[str, ...] = ()
    """Numbers that the kernel is told besides, fields of its structure."""

    def __init__(self) -> None:
        self.inputs = ("x", *self.states, *self.weights)
        self._required = tuple(name for name in self.inputs if name not in self.optional)
        self.kernel = Kernel(self.name, self.struct)
        self._define()

    @abstractmethod
    def sizes(self, inputs: Tensors) -> dict[str, int]:
        """The sizes that the inputs have, under the names that the kernel's structure has for them."""

    @abstractmethod
    def shapes(self, sizes: Mapping[str, int]) -> Shapes:
        """The shape of every input, of the mask, of the answer and of what is saved; none of its elements where left out."""

    def __call__(
        self, inputs: Tensors, mask: Tensor | None, batch_sizes: Sequence[int] | None, reverse: bool, *settings: float
    ) -> tuple[Tensor, ...]:
        """Run the layer: the answer. x (N, I) holds the rows of all steps; batch_sizes is None where all have the same."""
        given = [inputs.get(name) for name in self.inputs]
        save = torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in given)
        results = getattr(torch.ops.hypernetworks, self.name)(*given, mask, batch_sizes, reverse, *settings, save)
        return results[: len(self.answer)]

    def checked(self, inputs: Tensors) -> tuple[dict[str, Any], dict[str, int]]:
        """The inputs by name, each in one piece and of its shape, and their sizes; those left out are None.

        Raises:
            TypeError, ValueError: an input is missing, or has another shape, dtype or device than the kernel needs.
        """
        checked: dict[str, Any] = dict.fromkeys((*self.inputs, "mask"))
        for name, tensor in inputs.items():
            checked[name] = tensor if tensor is None or tensor.is_contiguous() else tensor.contiguous()
        for name in self._required:
            if checked[name] is None:
                raise TypeError(f"{name} should be a tensor, got None")
        for group in self.together:
            given = [name for name in group if checked[name] is not None]
            if given and len(given) < len(group):
                raise ValueError(f"{', '.join(group)} come together, got only {', '.join(given)}")
        sizes = self.sizes(checked)
        check_tensors(checked["x"], checked, self._shapes_of(tuple(sizes.items())))
        return checked, sizes

    @functools.lru_cache(maxsize=64)  # noqa: B019  there is one object for each operator
    def _shapes_of(self, sizes: tuple[tuple[str, int], ...]) -> Shapes:
        return self.shapes(dict(sizes))

    def _define(self) -> None:
        forward, backward = f"hypernetworks::{self.name}", f"hypernetworks::{self.name}_backward"
        tensors = [f"Tensor{'?' if name in self.optional else ''} {name}" for name in self.inputs]
        given = [*tensors, "Tensor? mask", "SymInt[]? batch_sizes", "bool reverse"]
        given += [f"float {name}" for name in self.settings]
        results = [f"Tensor {name}" for name in (*self.answer, *self.saved)]
        came = [f"Tensor? grad_{name}" for name in self.answer]
        grads = [f"Tensor grad_{name}" for name in self.inputs]
        needs = ["bool need_input", "bool need_weights"]
        torch.library.define(forward, f"({', '.join([*given, 'bool save'])}) -> ({', '.join(results)})")
        torch.library.define(backward, f"({', '.join([*came, *given, *results, *needs])}) -> ({', '.join(grads)})")
        torch.library.impl(forward, "CPU", self._forward)
        torch.library.impl(backward, "CPU", self._backward)
        torch.library.register_fake(forward, self._forward_shapes)
        torch.library.register_fake(backward, self._backward_shapes)
        torch.library.register_autograd(forward, self._grads, setup_context=self._keep)
        torch.library.register_autograd(backward, self._no_second_backward)

    def _forward(self, *given: Any) -> tuple[Tensor, ...]:
        tensors, settings, (save,) = _split(given, len(self.inputs) + 1, 2 + len(self.settings), 1)
        inputs, sizes, fields = self._prepare(tensors, settings)
        results = self._results(inputs["x"], sizes, save)
        for tensor in results.values():
            on_huge_pages(tensor)
        self._run("forward", inputs["x"], fields | results | {"save": save})
        return tuple(results.values())

    def _forward_shapes(self, *given: Any) -> tuple[Tensor, ...]:
        tensors, _, (save,) = _split(given, len(self.inputs) + 1, 2 + len(self.settings), 1)
        inputs = dict(zip((*self.inputs, "mask"), tensors, strict=True))
        return tuple(self._results(inputs["x"], self.sizes(inputs), save).values())

    def _results(self, x: Tensor, sizes: dict[str, int], save: bool) -> dict[str, Tensor]:
        """Fresh tensors for the answer and for what is saved."""
        full, kept = self.shapes(sizes), self.shapes(sizes | ({} if save else {"rows": 0}))
        shapes = {name: full[name] for name in self.answer} | {name: kept[name] for name in self.saved}
        return {name: x.new_empty(shape) for name, shape in shapes.items()}

    def _backward(self, *given: Any) -> tuple[Tensor, ...]:
        came, tensors, settings, results, (need_input, need_weights) = self._parts(given)
        inputs, sizes, fields = self._prepare(tensors, settings)
        x, shapes = inputs["x"], self.shapes(sizes)
        results = dict(zip((*self.answer, *self.saved), _contiguous(results), strict=True))
        came = dict(zip(self.answer, _contiguous(came), strict=True))
        for those in (results, came):
            check_tensors(x, those, shapes)
        grads = self._fresh_grads(inputs, need_input, need_weights)
        fields |= results | {"save": True, "need_input": need_input, "need_weights": need_weights}
        fields |= {f"grad_{name}": tensor for name, tensor in came.items()}
        fields |= {f"grad_{name}": tensor for name, tensor in grads.items() if tensor.numel()}
        self._run("backward", x, fields)
        return tuple(grads.values())

    def _backward_shapes(self, *given: Any) -> tuple[Tensor, ...]:
        _, tensors, _, _, needs = self._parts(given)
        return tuple(self._fresh_grads(dict(zip((*self.inputs, "mask"), tensors, strict=True)), *needs).values())

    def _fresh_grads(self, inputs: Tensors, need_input: bool, need_weights: bool) -> dict[str, Tensor]:
        """Fresh tensors for the gradients of the inputs, without elements where there is nothing to compute."""
        x = inputs["x"]
        assert x is not None
        wanted = {"x": need_input} | dict.fromkeys(self.states, True) | dict.fromkeys(self.weights, need_weights)
        grads = {}
        for name in self.inputs:
            tensor = inputs[name]
            grads[name] = x.new_empty(tensor.shape if wanted[name] and tensor is not None else (0,))
        return grads

    def _parts(self, given: Sequence[Any]) -> list[Sequence[Any]]:
        """The arguments of the backward operator: gradients, tensors, settings, results, needs."""
        answer, tensors = len(self.answer), len(self.inputs) + 1
        return _split(given, answer, tensors, 2 + len(self.settings), answer + len(self.saved), 2)

    def _prepare(
        self, tensors: Sequence[Tensor | None], settings: Sequence[Any]
    ) -> tuple[dict[str, Any], dict[str, int], dict[str, Any]]:
        """The inputs by name, checked; their sizes; and all that both passes tell the kernel."""
        batch_sizes, reverse, *numbers = settings
        inputs, sizes = self.checked(dict(zip((*self.inputs, "mask"), tensors, strict=True)))
        each = _all_batch_sizes(batch_sizes, sizes["rows"], sizes["batch"])
        fields = inputs | sizes | {"steps": len(each), "batch_sizes": each, "reverse": reverse}
        fields |= dict(zip(self.settings, numbers, strict=True))
        return inputs, sizes, fields

    def _run(self, which: str, x: Tensor, fields: dict[str, Any]) -> None:
        self.kernel(f"{self.name}_{which}", x.dtype, fields | {"threads": torch.get_num_threads()})

    def _keep(self, ctx: Any, inputs: Sequence[Any], output: Sequence[Tensor]) -> None:
        tensors, ctx.settings, _ = _split(inputs, len(self.inputs) + 1, 2 + len(self.settings), 1)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*output[len(self.answer) :])
        ctx.save_for_backward(*tensors, *output)

    def _grads(self, ctx: Any, *came: Tensor | None) -> tuple[Any, ...]:
        saved = ctx.saved_tensors
        need_input, *needs = ctx.needs_input_grad[: len(self.inputs)]
        need_weights = any(needs[len(self.states) :])
        tensors, results = saved[: len(self.inputs) + 1], saved[len(self.inputs) + 1 :]
        run = getattr(torch.ops.hypernetworks, f"{self.name}_backward")
        grads = run(*came[: len(self.answer)], *tensors, *ctx.settings, *results, need_input, need_weights)
        wanted = ctx.needs_input_grad
        return (*(grad if wanted[k] else None for k, grad in enumerate(grads)), *[None] * (4 + len(self.settings)))

    def _no_second_backward(self, ctx: Any, *came: Tensor | None) -> tuple[Any, ...]:
        raise RuntimeError(
            "the native path has no second backward: compute gradients of gradients under hn.use_backend('reference')"
        )


def check_tensors(first: Tensor, tensors: Mapping[str, Tensor | None], shapes: Shapes) -> None:
    """Every tensor that is given has its shape, lies on the CPU, and has the dtype of `first`: float32 or float64."""
    if first.dtype not in SUFFIX:
        raise TypeError(f"the native kernels serve float32 and float64, got {first.dtype}")
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        if tensor.shape != shapes[name]:
            raise ValueError(f"{name} should have shape {shapes[name]}, got {tuple(tensor.shape)}")
        if tensor.dtype != first.dtype or not tensor.is_cpu:
            raise TypeError(f"{name} should be {first.dtype} on the CPU, got {tensor.dtype} on {tensor.device}")


def _split(given: Sequence[Any], *counts: int) -> list[Sequence[Any]]:
    """The arguments in groups of so many."""
    ends = (0, *itertools.accumulate(counts))
    assert ends[-1] == len(given)
    return [given[begin:end] for begin, end in itertools.pairwise(ends)]


def _contiguous(tensors: Iterable[Tensor | None]) -> list[Tensor | None]:
    return [None if tensor is None else tensor.contiguous() for tensor in tensors]


def _all_batch_sizes(batch_sizes: Sequence[int] | None, rows: int, batch: int) -> Tensor:
    """B_t for every step, checked: from B down to 1, never growing, N rows in all; B each where none are given."""
    if rows == 0 or batch == 0:
        raise ValueError(f"there should be at least one row and one sequence, got {rows} and {batch}")
    if batch_sizes is None:
        if rows % batch:
            raise ValueError(f"{rows} rows are no whole number of steps of {batch} sequences")
        return torch.full((rows // batch,), batch, dtype=torch.int64, device="cpu")
    sizes = torch.tensor(batch_sizes, dtype=torch.int64, device="cpu")
    falling = len(sizes) > 0 and sizes[0] == batch and sizes[-1] >= 1 and not (sizes[1:] > sizes[:-1]).any()
    if not falling or sizes.sum() != rows:
        raise ValueError(
            f"batch_sizes should fall from {batch} to at least 1 and sum up to {rows}, got {list(batch_sizes)}"
        )
    return sizes
