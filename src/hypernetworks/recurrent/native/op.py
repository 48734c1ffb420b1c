"""A layer as an operator of torch: schema, kernel, fake kernel and backward, from a description of its tensors.

    hypernetworks::NAME(inputs, mask, batch_sizes, reverse, eps, save) -> answer, saved
    hypernetworks::NAME_backward(gradients of the answer, the same inputs, answer and saved) -> gradients of the inputs

so that it works with autograd, torch.compile and torch.export. All shapes are checked before a kernel runs: it then
reads and writes within the given tensors, whatever is passed. Every operator takes the tensors of a hyper cell, too.
The C++ kernels are under the key CPU. `implement` adds kernels for another type of device.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ... import torch_compat
from ..backend import undisturbed
from .flops import backward_flops, forward_flops
from .layer import LayerCall, LayerKernels, NativeLayers, Shapes, Sizes, Tensors, all_batch_sizes, check_tensors

ANY = Sizes(1, 1, 1, 1, 1, 1, 1)
HYPER_STATES = ("hyper_h", "hyper_c")
HYPER_NORM = ("hyper_gain", "hyper_shift", "hyper_cell_gain", "hyper_cell_shift")
IN_OWN_DTYPE = ("saved_pre", "saved_wh", "saved_hyper_h")
"""What is saved in the dtype of x. Everything else that is saved is sums, in float32 or wider."""
NATIVE = NativeLayers()
_library = torch.library.Library("hypernetworks", "FRAGMENT")


class LayerOp:
    """An operator that runs one layer of a recurrent network over all time steps.

    Args:
        name: of the operator and of its kernels.
        blocks: row blocks of weight_x, one for each gate and candidate.
        blocks_apart: how many of the last blocks need the product on h apart from that on x.
        deep: weight_h and bias have an axis of the levels of a step before all others.
        states: the state of the main cell, h first; its inputs are h0, ...
        weights: the shapes of the main cell's parameters, in the order of the schema.
        optional: those of them that may be None, besides `norm`.
        norm: those of the layer norm, given all or not at all.
        saved: what the backward pass needs of this cell in particular.
    """

    settings: ClassVar[tuple[str, ...]] = ("eps",)

    def __init__(
        self,
        name: str,
        *,
        blocks: int,
        states: tuple[str, ...],
        weights: Callable[[Sizes], Shapes],
        saved: Callable[[Sizes], Shapes],
        optional: tuple[str, ...] = (),
        norm: tuple[str, ...] = (),
        blocks_apart: int = 0,
        deep: bool = False,
    ) -> None:
        self.name = name
        self._blocks, self._blocks_apart, self._deep = blocks, blocks_apart, deep
        self._main_weights, self._main_saved = weights, saved
        hyper = tuple(name for name in self._hyper_weights(ANY) if name not in HYPER_NORM)
        hyper_states = tuple(f"{state}0" for state in HYPER_STATES)
        self._results_of_state = (*states, *HYPER_STATES)
        self.states: tuple[str, ...] = tuple(f"{state}0" for state in self._results_of_state)
        self.weights: tuple[str, ...] = (*weights(ANY), *self._hyper_weights(ANY))
        self.inputs: tuple[str, ...] = ("x", *self.states, *self.weights)
        self.optional: tuple[str, ...] = (*optional, *norm, *hyper_states, *hyper, *HYPER_NORM)
        self._together = tuple(filter(None, (norm, HYPER_NORM, (*hyper_states, *hyper))))
        self._required = tuple(name for name in self.inputs if name not in self.optional)
        self.answer: tuple[str, ...] = ("output", *self._results_of_state)
        self.saved: tuple[str, ...] = tuple(self._saved_shapes(ANY))
        self._define()
        self.implement("CPU", NATIVE)

    def sizes(self, inputs: Tensors) -> Sizes:
        """The sizes that the inputs have."""
        x, h0, hyper_h0, P, weight_h = (inputs[name] for name in ("x", "h0", "hyper_h0", "P", "weight_h"))
        assert x is not None
        assert h0 is not None
        assert weight_h is not None
        K = Z = 0
        if hyper_h0 is not None and P is not None:
            K, Z = hyper_h0.shape[-1], P.shape[-2]
            if 0 in (K, Z):
                raise ValueError(f"a hyper cell has a size and an embedding of at least 1, got {(K, Z)}")
            if inputs["bias"] is None:
                raise ValueError("the main cell of a hyper network has a bias, got none")
        depth = weight_h.shape[0] if self._deep else 1
        return Sizes(x.shape[0], h0.shape[0], x.shape[-1], h0.shape[-1], depth, K, Z)

    def shapes(self, s: Sizes) -> Shapes:
        """The shape of every input, of the mask, of the answer and of what is saved; see layer_call.h."""
        shapes: Shapes = {"x": (s.N, s.I), "mask": (s.N, s.L * s.H), "output": (s.N, s.H)}
        for state in self._results_of_state:
            shapes[state] = shapes[f"{state}0"] = (s.B, s.K if state in HYPER_STATES else s.H)
        return shapes | self._main_weights(s) | self._hyper_weights(s) | self._saved_shapes(s)

    def _hyper_weights(self, s: Sizes) -> Shapes:
        """The parameters of a hyper cell; P, p and D have a block for each of W_h, W_x and b, at each level."""
        with_p, all_blocks = (s.L + 1) * self._blocks, (2 * s.L + 1) * self._blocks
        return {
            "hyper_weight_x": (4 * s.K, s.I + s.H),
            "hyper_weight_h": (4 * s.K, s.K),
            "hyper_bias": (4 * s.K,),
            "hyper_gain": (4, s.K),
            "hyper_shift": (4, s.K),
            "hyper_cell_gain": (s.K,),
            "hyper_cell_shift": (s.K,),
            "P": (all_blocks, s.Z, s.K),
            "p": (with_p, s.Z),
            "D": (all_blocks, s.H, s.Z),
        }

    def _saved_shapes(self, s: Sizes) -> Shapes:
        """What the backward pass needs: products, what the cell itself keeps, and the hyper cell's states, z and moments."""
        hyper_rows = s.N if s.K else 0
        blocks_of_wh = s.L * self._blocks if s.K else self._blocks_apart
        return {
            "saved_pre": (s.N, self._blocks * s.H + 4 * s.K),
            "saved_wh": (s.N, blocks_of_wh * s.H),
            **self._main_saved(s),
            "saved_hyper_h": (hyper_rows, s.K),
            "saved_hyper_c": (hyper_rows, s.K),
            "saved_z": (hyper_rows, (2 * s.L + 1) * self._blocks * s.Z),
            "saved_hyper_stats": (hyper_rows, 10),
        }

    def __call__(
        self, inputs: Tensors, mask: Tensor | None, batch_sizes: Sequence[int] | None, reverse: bool, *settings: float
    ) -> tuple[Tensor, ...]:
        """Run the layer on the CPU: the answer. x (N, I) holds the rows of all steps; batch_sizes None: as many at each."""
        tensors = [*(inputs.get(name) for name in self.inputs), mask]
        save = _needs_backward(tensors)
        # torch has nothing to record or to trace: leave its dispatcher out, which costs more than a small kernel
        direct = not save and _all_ordinary(tensors) and undisturbed()
        if direct:
            return self._forward(NATIVE, *tensors, batch_sizes, reverse, *settings, save)[: len(self.answer)]
        return self._run(tensors, batch_sizes, reverse, *settings, save)

    def dispatched(
        self, inputs: Tensors, mask: Tensor | None, batch_sizes: Sequence[int] | None, reverse: bool, *settings: float
    ) -> tuple[Tensor, ...]:
        """The same on any device that has kernels, always through torch's dispatcher."""
        tensors = [*(inputs.get(name) for name in self.inputs), mask]
        return self._run(tensors, batch_sizes, reverse, *settings, _needs_backward(tensors))

    def _run(self, tensors: Sequence[Tensor | None], *others: Any) -> tuple[Tensor, ...]:
        """The answer, through torch's dispatcher."""
        if not torch.compiler.is_compiling() and torch_compat.in_dispatch_mode():
            torch_compat.count_flops(self._flop_formulas)
        return self._operator(*tensors, *others)[: len(self.answer)]

    def checked(self, inputs: Tensors, kernels: LayerKernels = NATIVE) -> tuple[dict[str, Any], Sizes]:
        """The inputs by name, each contiguous and of its shape, and their sizes; those left out are None.

        Raises:
            TypeError, ValueError: an input is missing, or has another shape, dtype or device than the kernel needs.
        """
        checked: dict[str, Any] = dict.fromkeys((*self.inputs, "mask"))
        for name, tensor in inputs.items():
            checked[name] = tensor if tensor is None or tensor.is_contiguous() else tensor.contiguous()
        for name in self._required:
            if checked[name] is None:
                raise TypeError(f"{name} should be a tensor, got None")
        for group in self._together:
            given = [name for name in group if checked[name] is not None]
            if given and len(given) < len(group):
                raise ValueError(f"{', '.join(group)} come together, got only {', '.join(given)}")
        sizes = self.sizes(checked)
        check_tensors(checked["x"], checked, self._known_shapes(sizes), kernels, {})
        return checked, sizes

    @functools.lru_cache(maxsize=64)  # noqa: B019  there are as many objects as operators
    def _known_shapes(self, sizes: Sizes) -> Shapes:
        return self.shapes(sizes)

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
        torch.library.register_fake(forward, self._forward_shapes)
        torch.library.register_fake(backward, self._backward_shapes)
        torch.library.register_autograd(forward, self._grads, setup_context=self._keep)
        torch.library.register_autograd(backward, self._no_second_backward)
        self._operator = getattr(torch.ops.hypernetworks, self.name)
        of_backward = getattr(torch.ops.hypernetworks, f"{self.name}_backward")
        self._flop_formulas = {self._operator: self._flops, of_backward: self._flops_backward}

    def implement(self, key: str, kernels: LayerKernels, override: bool = False) -> None:
        """Let these kernels compute the layers whose tensors have this dispatch key of torch."""
        _library.impl(self.name, partial(self._forward, kernels), key, allow_override=override)
        _library.impl(f"{self.name}_backward", partial(self._backward, kernels), key, allow_override=override)

    def _flops(self, *given: Any, **_: Any) -> int:
        """The operations of a call, from its arguments with shapes for tensors."""
        return forward_flops(dict(zip(self.inputs, given, strict=False)))

    def _flops_backward(self, *given: Any, **_: Any) -> int:
        parts = self._parts(given)
        return backward_flops(dict(zip(self.inputs, parts[1], strict=False)), *parts[-1])

    def _forward(self, kernels: LayerKernels, *given: Any) -> tuple[Tensor, ...]:
        tensors, settings, (save,) = _split(given, len(self.inputs) + 1, 2 + len(self.settings), 1)
        call = self._call(kernels, tensors, settings)
        results = self._results(call.x, call.sizes, save)
        kernels.forward(call, results, save)
        return tuple(results.values())

    def _forward_shapes(self, *given: Any) -> tuple[Tensor, ...]:
        tensors, _, (save,) = _split(given, len(self.inputs) + 1, 2 + len(self.settings), 1)
        inputs = dict(zip((*self.inputs, "mask"), tensors, strict=True))
        return tuple(self._results(inputs["x"], self.sizes(inputs), save).values())

    def _results(self, x: Tensor, sizes: Sizes, save: bool) -> dict[str, Tensor]:
        """Fresh tensors for the answer and for what is saved."""
        full, kept = self.shapes(sizes), self._saved_shapes(sizes if save else sizes._replace(N=0))
        shapes = {name: full[name] for name in self.answer} | {name: kept[name] for name in self.saved}
        dtypes = self._dtypes(x.dtype)
        return {name: x.new_empty(shape, dtype=dtypes.get(name, x.dtype)) for name, shape in shapes.items()}

    def _dtypes(self, dtype: torch.dtype) -> dict[str, torch.dtype]:
        """The dtypes of what is saved, where they may differ from that of x."""
        wider = torch.promote_types(dtype, torch.float32)
        return {name: wider for name in self.saved if name not in IN_OWN_DTYPE}

    def _backward(self, kernels: LayerKernels, *given: Any) -> tuple[Tensor, ...]:
        came, tensors, settings, results, needs = self._parts(given)
        call = self._call(kernels, tensors, settings)
        results = dict(zip((*self.answer, *self.saved), map(torch.Tensor.contiguous, results), strict=True))
        came = dict(zip(self.answer, _contiguous(came), strict=True))
        for those in (results, came):
            check_tensors(call.x, those, self.shapes(call.sizes), kernels, self._dtypes(call.x.dtype))
        grads = self._fresh_grads(call.inputs, *needs)
        kernels.backward(call, came, results, grads, *needs)
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

    def _call(self, kernels: LayerKernels, tensors: Sequence[Tensor | None], settings: Sequence[Any]) -> LayerCall:
        """The arguments that both passes have, checked."""
        batch_sizes, reverse, *numbers = settings
        inputs, sizes = self.checked(dict(zip((*self.inputs, "mask"), tensors, strict=True)), kernels)
        each = all_batch_sizes(batch_sizes, sizes.N, sizes.B)
        return LayerCall(self.name, inputs, sizes, each, reverse, dict(zip(self.settings, numbers, strict=True)))

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
            "the kernels have no second backward: compute gradients of gradients under hn.use_backend('reference')"
        )


def _needs_backward(tensors: Iterable[Tensor | None]) -> bool:
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def _all_ordinary(tensors: Iterable[Tensor | None]) -> bool:
    """Whether all are plain tensors, none of a subclass that sees what is done to it."""
    return all(tensor is None or type(tensor) in (Tensor, nn.Parameter) for tensor in tensors)


def _split(given: Sequence[Any], *counts: int) -> list[Sequence[Any]]:
    """The arguments in groups of these sizes."""
    ends = (0, *itertools.accumulate(counts))
    assert ends[-1] == len(given)
    return [given[begin:end] for begin, end in itertools.pairwise(ends)]


def _contiguous(tensors: Iterable[Tensor | None]) -> list[Tensor | None]:
    return [None if tensor is None else tensor.contiguous() for tensor in tensors]
