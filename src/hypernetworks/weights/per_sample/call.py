"""One set of weights per sample: y_n = f(x_n; W_n), for all samples in one call, in one of two ways.

    whole batch     the target runs once, as it is, on all samples. A function of torch that is given a generated parameter
                    applies its form to each sample's rows (`served/`). Where these rows are was measured (`probe.py`).
    vmap            the weights are made, and the target runs under torch.func.vmap (`vmapped.py`).

The first is taken wherever it gives what the second gives: where the target does nothing with a generated parameter that forms
do not serve, and where every activation has its samples in one known dimension. Otherwise, and while a compiler or another
transform of torch traces, the second. Either way a parameter of the target keeps its value.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

import hypernetworks.weights.per_sample.served  # noqa: F401  (registers the functions that know forms)
from hypernetworks.torch_compat import (
    in_dispatch_mode,
    in_function_transform,
    is_exporting,
    is_jit_tracing,
    is_out_of_memory,
    tree_flatten,
    tree_unflatten,
)
from hypernetworks.weights.call import Call, CopiedCall
from hypernetworks.weights.forms import Form, Full
from hypernetworks.weights.layout import Layout
from hypernetworks.weights.per_sample.dimensions import Dims, check_objects, input_places, new_places, output_places
from hypernetworks.weights.per_sample.gates import Gates
from hypernetworks.weights.per_sample.hooks import Hook, change_hooks, only_watching
from hypernetworks.weights.per_sample.measurements import Measurements, key_of
from hypernetworks.weights.per_sample.objects import copied
from hypernetworks.weights.per_sample.observer import Observer
from hypernetworks.weights.per_sample.probe import probe
from hypernetworks.weights.per_sample.random import RandomNumbers
from hypernetworks.weights.per_sample.refusals import in_words
from hypernetworks.weights.per_sample.slots import Calls, NotServedError, Slot
from hypernetworks.weights.per_sample.vmapped import PACKED, run_vmapped
from hypernetworks.weights.per_sample.writes import KeptTensors

_ONE_NUMBER = (
    ". If it is the target's own loss of all samples, let the target return the logits (in transformers: leave out labels) and "
    "compute the loss from them, as a mean over the samples"
)


def run_per_sample(
    target: nn.Module,
    new_call: Callable[[], Call],
    weights: Mapping[str, Form | Tensor],
    samples: int,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    known: Measurements,
    *,
    in_dims: Dims = 0,
    out_dims: Dims = 0,
    each: int = 1,
) -> tuple[Any, Call]:
    """Run target(*args, **kwargs) with weights for each sample. Returns the result and the call that gave it.

    Args:
        target: the module. Nothing is written into it.
        new_call: makes a call of the target that is given tensors.
        weights: the generated parameters, by name: forms, tensors (B, ...), and tensors without B, shared by all samples.
        samples: B.
        args, kwargs: the arguments.
        known: what was measured before, which this call adds to.
        in_dims: where the samples are in the tensors among the arguments.
        out_dims: where they are in those returned, or where their new dimension is if all share all arguments.
        each: the rows in these dimensions for each of the B conditions, one after another.

    Raises:
        ValueError: a tensor has not the samples where it should, no tensor is given, a sequence is packed, or each sample runs
            alone and an object holds tensors of all samples.
        RuntimeError: the target can be run in neither way.
    """
    if is_exporting() and torch.compiler.is_dynamo_compiling():
        raise ValueError(
            "weights for each sample cannot be exported with strict=True: use torch.export.export(..., strict=False)"
        )
    if any(isinstance(given, PackedSequence) for given in (*args, *kwargs.values())):
        raise ValueError(PACKED)
    places = input_places(target, args, kwargs, in_dims, samples, each)
    returned = output_places(target, args, kwargs, out_dims, samples, each)
    stacked = None if any(places) else new_places(out_dims, each)
    leaves, form = tree_flatten((tuple(args), dict(kwargs)))
    ranks = {name: parameter.dim() for name, parameter in target.named_parameters()}
    forms: dict[str, Form] = {}
    shared: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if isinstance(weight, Form):
            forms[name] = weight
        elif weight.dim() > ranks[name]:
            forms[name] = Full(weight)
        else:
            shared[name] = weight
    reason = None
    if stacked is None and not _traced():
        random = RandomNumbers(leaves)
        whole = _WholeBatch(target, new_call, forms, shared, leaves, form, places, returned)
        try:
            return whole.run(known)
        except NotServedError as why:
            reason = str(why)
        random.restore()
    elif stacked is not None and not _traced():
        reason = "all samples share all inputs"
    check_objects(target, args, kwargs, in_dims, samples, each)
    call, made = new_call(), {name: form.materialize() for name, form in forms.items()}
    try:
        return run_vmapped(call, made, shared, leaves, form, places, stacked or returned), call
    except RuntimeError as error:
        if reason is None or is_out_of_memory(error):
            raise
        own = "x[n : n + 1]" if stacked is None else "x"
        raise RuntimeError(
            f"{type(target).__name__} cannot run with weights for each sample. On the whole batch: {reason}. Each sample "
            f"alone, under torch.func.vmap: {in_words(error)}. A loop always can: net({own}, condition=c[n]) for each n"
        ) from error


class _WholeBatch:
    """One call of the target on all samples at once."""

    def __init__(
        self,
        target: nn.Module,
        new_call: Callable[[], Call],
        forms: Mapping[str, Form],
        shared: Mapping[str, Tensor],
        leaves: Sequence[Any],
        form: Any,
        places: Sequence[Layout | None],
        returned: Callable[[int], Layout],
    ) -> None:
        self.target, self.new_call, self.forms, self.shared = target, new_call, forms, shared
        self.leaves, self.form, self.places, self.returned = leaves, form, places, returned
        self.samples = next(iter(forms.values())).samples
        self.with_gradients: set[str] = {
            name for name, form in forms.items() if any(part.requires_grad for part in form.tensors().values())
        }

    @cached_property
    def gates(self) -> Gates:
        """For the runs of a probe, as is `kept`."""
        return Gates()

    @cached_property
    def kept(self) -> KeptTensors:
        return KeptTensors(self.target)

    def run(self, known: Measurements) -> tuple[Any, Call]:
        """Measure, if such a call was not measured before, and call the target.

        Raises:
            NotServedError: it has to be called in another way.
        """
        if self.samples == 1:
            return self._one()
        places, names = tuple(self.places), tuple(self.forms)
        key = key_of(self.target, self.leaves, self.form, places, self.samples, names, torch.is_grad_enabled())
        found = known.get(key)
        if found is None:
            try:
                found = probe(self._try, self.forms, self.leaves, self.places, self._check)
            except NotServedError as why:
                found = str(why)
            known.set(key, found, self.target)
        if isinstance(found, str):
            raise NotServedError(found)
        try:
            result, call = self._call(self.forms, found, self.leaves, only_watching)
        except NotServedError as why:
            known.set(key, str(why), self.target)
            raise
        self._check_all(result)
        return result, call

    def _one(self) -> tuple[Any, Call]:
        """The call of a single sample: all rows are its own."""
        call, (args, kwargs) = self.new_call(), tree_unflatten(self.leaves, self.form)
        weights = {name: form.materialize().squeeze(0) for name, form in self.forms.items()}
        result = call(weights | dict(self.shared), args, kwargs)
        self._check_all(result)
        return result, call

    def _call(
        self,
        forms: Mapping[str, Form],
        calls: Calls,
        leaves: Sequence[Any],
        hooks: Callable[[Hook], Hook] | None,
        gates: Gates | None = None,
    ) -> tuple[Any, CopiedCall]:
        """Call the target with slots, with its forward hooks changed or removed, and with other tensors in place of zeros."""
        slots = {name: Slot.of(form, name, calls, name in self.with_gradients) for name, form in forms.items()}
        args, kwargs = tree_unflatten(leaves, self.form)
        call = self.new_call()
        assert isinstance(call, CopiedCall)
        module = call.adapted(slots | dict(self.shared))
        change_hooks(module, hooks)
        if gates is not None:
            gates.open(module)
        return module(*args, **kwargs), call

    def _try(self, observer: Observer, leaves: Sequence[Any], other: Mapping[str, Form]) -> list[Any]:
        """A run of a probe: copies of the arguments, the weights of the first sample but for others that are given, open
        gates, and no hooks, which others may see.
        """
        forms = {name: form.sample(0) for name, form in self.forms.items()} | dict(other)
        own = [copied(leaf) for leaf in leaves]
        with self.kept:
            return tree_flatten(self._call(forms, observer, own, None, self.gates)[0])[0]

    def _check_all(self, result: Any) -> None:
        """Check that every returned tensor has the samples."""
        for k, part in enumerate(part for part in tree_flatten(result)[0] if isinstance(part, Tensor)):
            self._check(k, part)

    def _check(self, k: int, part: Tensor) -> Layout:
        """Where the samples are in a returned tensor.

        Raises:
            NotServedError: it has no dimension of this size.
        """
        layout = self.returned(k)
        size = layout.samples * layout.each
        if not -part.dim() <= layout.dim < part.dim() or part.shape[layout.dim] != size:
            way_out = "" if part.dim() else _ONE_NUMBER
            raise NotServedError(
                f"a returned tensor of shape {tuple(part.shape)} has no samples in dimension {layout.dim}{way_out}"
            )
        return replace(layout, dim=layout.dim % part.dim())


def _traced() -> bool:
    """Whether a compiler, an exporter or a transform of torch.func traces the call."""
    return torch.compiler.is_compiling() or in_function_transform() or in_dispatch_mode() or is_jit_tracing()
