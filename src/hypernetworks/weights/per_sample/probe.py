"""Measures where the samples are in the activations of a target: which rows of an input change with which samples.

The target runs without gradients, every time with the same random numbers: once as it is called, and then once for each binary
digit of a sample's number, with the inputs of all samples whose number has a 1 there replaced by other values. A layout fits
an activation if in every run exactly the rows of the changed samples change. The layout is used if it is the only one that
fits. No sample is taken for another: the digits of their numbers differ. Nor may samples mix: a row that depends on two
samples changes with both.

    run       changed samples (B = 5, numbers 1 to 5)
    0         none
    1         0, 2, 4        numbers 001, 011, 101
    2         1, 2           numbers 010, 011
    3         3, 4           numbers 100, 101

The weights are those of the first sample, for all: where the samples are does not depend on them. F.batch_norm, which mixes
samples in training, is taken with fixed statistics. Rows that the target orders itself must stay within a sample, see
`orders.py`. What is not seen is a target that, for other values of its inputs, calls the same functions with activations of the
same shapes but with the samples in another dimension.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from hypernetworks.torch_compat import is_batched
from hypernetworks.weights.layout import Layout, candidates, differs, of_samples
from hypernetworks.weights.per_sample.orders import Orders
from hypernetworks.weights.per_sample.random import RandomNumbers
from hypernetworks.weights.per_sample.refusals import Refusals
from hypernetworks.weights.per_sample.slots import NotServedError, Slot

Key = tuple[str, str, tuple[int, ...]]
"""The parameter, the function that is called with it, and the shape of the activation."""


@dataclass(frozen=True)
class Places:
    """Where the samples are in what the functions that know forms are given."""

    layouts: dict[Key, Layout]

    def rows(self, name: str, function: str, x: Tensor, dims: Iterable[int]) -> Layout:
        """The layout that was measured."""
        layout = self.layouts.get((name, function, tuple(x.shape)))
        if layout is None:
            raise NotServedError(f"{function} with {name} is called in another way than before")
        return layout


@dataclass
class Seen:
    """A tensor of the first run, and the layouts that still fit it."""

    key: Key
    x: Tensor
    fitting: list[Layout]
    ordered: set[int] = field(default_factory=set)
    """The dimensions along which its rows are put into an order, see `orders.py`."""
    constant: bool = True
    """Whether it was the same in all runs."""

    def compare(self, x: Tensor, changed: Tensor) -> None:
        """Keep the layouts in which exactly the changed samples differ from the first run."""
        if x.dtype != self.x.dtype or x.shape != self.x.shape:
            raise NotServedError(f"{self.key[1]} with {self.key[0]} depends on the values of the inputs")
        different = differs(self.x, x)
        self.constant = self.constant and not different.any()
        self.fitting = [layout for layout in self.fitting if torch.equal(of_samples(different, layout).cpu(), changed)]

    def layout(self) -> Layout:
        """The only layout that fits."""
        name, function, _ = self.key
        if len(self.fitting) != 1:
            what = "no dimension holds" if not self.fitting else "several dimensions may hold"
            raise NotServedError(f"{what} the samples in the input of {function}{name and ' with '}{name}")
        return self.fitting[0]


class Observer:
    """Collects the activations of a run in the order of the calls. All weights are those of one sample."""

    def __init__(self, samples: int) -> None:
        self.samples = samples
        self.activations: list[Seen] = []
        self.orders: list[Seen] = []
        self.changed: Tensor | None = None
        self.places = [0, 0]

    def start(self, changed: Tensor | None) -> None:
        """Start a run in which these samples, (B,), have other inputs; None for the first."""
        self.changed, self.places = changed, [0, 0]

    def rows(self, name: str, function: str, x: Tensor, dims: Iterable[int]) -> Layout:
        """Take note of x. The forms have one sample, so all rows of x belong to it."""
        dims = list(dims)
        if not dims:
            raise NotServedError(f"{function} with {name} has no batch dimension")
        self._see(
            0, self.activations, Seen((name, function, tuple(x.shape)), x, candidates(x.shape, dims, self.samples))
        )
        return Layout(1, dims[0], x.shape[dims[0]])

    def order(self, function: str, x: Tensor, dims: Iterable[int]) -> None:
        """Take note of a tensor whose rows a function orders along these dimensions."""
        dims = set(dims)
        if dims and not is_batched(x):
            layouts = candidates(x.shape, range(x.dim()), self.samples)
            self._see(1, self.orders, Seen(("", function, tuple(x.shape)), x, layouts, dims))

    def _see(self, kind: int, known: list[Seen], seen: Seen) -> None:
        """Keep what the first run sees, and compare with it what the others see."""
        place = self.places[kind]
        if self.changed is None:
            seen.x = seen.x.detach().clone()
            known.append(seen)
        else:
            if place >= len(known) or known[place].key != seen.key:
                raise NotServedError(f"the calls of {seen.key[1]} depend on the values of the inputs")
            known[place].compare(seen.x, self.changed)
        self.places[kind] += 1

    def finish(self) -> None:
        """End a run."""
        if self.places != [len(self.activations), len(self.orders)]:
            raise NotServedError("the calls depend on the values of the inputs")

    def measured(self) -> Places:
        """The only layout that fits each activation."""
        for seen in self.orders:
            if not seen.constant and seen.layout().dim in seen.ordered:
                raise NotServedError(f"{seen.key[1]} puts rows of different samples into an order that it computes")
        layouts: dict[Key, Layout] = {}
        for seen in self.activations:
            layout = seen.layout()
            if layouts.setdefault(seen.key, layout) != layout:
                name, function, _ = seen.key
                raise NotServedError(f"the samples are in different dimensions in two calls of {function} with {name}")
        return Places(layouts)


class Watching(TorchFunctionMode):
    """Within it, an observer takes note of orders, and F.batch_norm, which mixes samples in training, has fixed statistics."""

    def __init__(self, observer: Observer) -> None:
        super().__init__()
        self.orders = Orders(observer.order)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function."""
        if func is F.batch_norm:
            return fixed_batch_norm(*args, **(kwargs or {}))
        if Slot in types:
            return func(*args, **(kwargs or {}))
        return self.orders.call(func, args, kwargs or {})


def fixed_batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    *args: Any,
    **kwargs: Any,
) -> Tensor:
    """F.batch_norm with mean 0 and variance 1 where it would take those of the batch."""
    if isinstance(input, Slot):
        raise NotServedError("batch_norm of a generated parameter")
    if training or running_mean is None or running_var is None:
        kind = torch.float64 if input.dtype == torch.float64 else torch.float32
        running_mean = torch.zeros(input.shape[1], dtype=kind, device=input.device)
        running_var = torch.ones_like(running_mean)
    return F.batch_norm(input, running_mean, running_var, weight, bias, False, *args, **kwargs)


@torch.no_grad()
def probe(
    run: Callable[[Observer, Sequence[Any]], Sequence[Any]],
    leaves: Sequence[Any],
    places: Sequence[Layout | None],
    returned: Callable[[int, Tensor], Layout],
    samples: int,
) -> Places:
    """Measure where the samples are in the activations.

    Args:
        run: calls a copy of the target with slots that belong to the observer, and returns the leaves of its result.
        leaves: the leaves of the arguments.
        places: where the samples are in each; None for what is shared, and for no tensors.
        returned: where they should be in the k-th returned tensor. It raises if they cannot be there.
        samples: B.

    Raises:
        NotServedError: a layout cannot be known, or samples mix.
    """
    observer = Observer(samples)
    numbers = torch.arange(1, samples + 1)

    def measure(changed: Tensor | None) -> list[Tensor]:
        given = leaves if changed is None else replaced(leaves, places, changed)
        with same_random_numbers(leaves), Watching(observer):
            observer.start(changed)
            results = [part for part in run(observer, given) if isinstance(part, Tensor)]
            observer.finish()
        return results

    first = [result.clone() for result in measure(None)]
    wanted = [returned(k, result) for k, result in enumerate(first)]
    for digit in range(samples.bit_length()):
        changed = (numbers >> digit) % 2 == 1
        with Refusals("for other values of the inputs"):
            results = measure(changed)
        if [result.shape for result in results] != [result.shape for result in first]:
            raise NotServedError("what is returned depends on the values of the inputs")
        for before, after, layout in zip(first, results, wanted, strict=True):
            if (of_samples(differs(before, after), layout).cpu() & ~changed).any():
                raise NotServedError("a returned tensor has samples in another dimension, or mixes them")
    return observer.measured()


@contextmanager
def same_random_numbers(leaves: Sequence[Any]) -> Iterator[None]:
    """Every run draws the same random numbers, and the generators of torch are as before afterwards."""
    random = RandomNumbers(leaves)
    try:
        for generator in random.generators:
            generator.manual_seed(0)
        yield
    finally:
        random.restore()


def replaced(leaves: Sequence[Any], places: Sequence[Layout | None], changed: Tensor) -> list[Any]:
    """The arguments with other values for the changed samples, drawn from those that the tensor has.

    Tensors of at most two values are masks and flags. They are kept if anything else can be changed: another mask might take
    the target another way.
    """
    tensors = [k for k, place in enumerate(places) if place is not None and leaves[k].numel()]
    chosen = [k for k in tensors if not _flags(leaves[k])] or tensors
    given = list(leaves)
    for k in chosen:
        place, leaf = places[k], leaves[k]
        assert place is not None
        rows = place.apart(leaf)
        shape = [1] * rows.dim()
        shape[place.place] = len(changed)
        where = changed.to(leaf.device).view(shape)
        given[k] = place.together(torch.where(where, place.apart(_others(leaf)), rows))
    return given


def _flags(x: Tensor) -> bool:
    """Whether a tensor has at most two values."""
    if x.is_complex():
        return False
    return x.dtype == torch.bool or bool(((x == x.min()) | (x == x.max())).all())


def _others(x: Tensor) -> Tensor:
    """Other values for every entry, out of those that x has."""
    generator = torch.Generator().manual_seed(0)
    if x.is_floating_point() or x.is_complex():
        flat = x.flatten()
        return flat[torch.randint(flat.numel(), (flat.numel(),), generator=generator).to(x.device)].view_as(x)
    values, which = torch.unique(x, return_inverse=True)
    steps = torch.randint(1, max(len(values), 2), x.shape, generator=generator).to(x.device)
    return values[(which + steps) % len(values)]
