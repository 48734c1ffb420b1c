"""What is seen of a target while it is measured: the activations that its generated parameters meet, and what it orders."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from hypernetworks.torch_compat import is_batched
from hypernetworks.weights.forms import Form
from hypernetworks.weights.layout import Layout, Repeated, candidates, differs, of_samples
from hypernetworks.weights.per_sample.autocast import autocasts
from hypernetworks.weights.per_sample.orders import Orders
from hypernetworks.weights.per_sample.random import RandomNumbers
from hypernetworks.weights.per_sample.slots import NotServedError, Slot

Key = tuple[str, str, tuple[int, ...]]
"""The parameter, the function that is called with it, and the shape of the activation."""

LOOKUP = "embedding"
"""The function that takes rows of a table at the places of an index."""


@dataclass(frozen=True)
class Places:
    """Where the samples are in what the functions that know forms are given."""

    layouts: dict[Key, Layout]
    repeated: dict[Key, Repeated] = field(default_factory=dict)
    """Where an index that all samples share is repeated for each."""

    def rows(self, name: str, function: str, x: Tensor, dims: Iterable[int]) -> Layout:
        """The layout that was measured."""
        layout = self.layouts.get((name, function, tuple(x.shape)))
        if layout is None:
            raise NotServedError(f"{function} with {name} is called in another way than before")
        return layout

    def lookup(self, name: str, index: Tensor) -> tuple[Tensor, Layout]:
        """The index, repeated if all samples share it, and its layout."""
        shared = self.repeated.get((name, LOOKUP, tuple(index.shape)))
        if shared is None:
            return index, self.rows(name, LOOKUP, index, ())
        return shared.repeat(index), shared.layout


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

    @property
    def shared(self) -> bool:
        """Whether it is an index into a table that does not depend on the inputs."""
        return self.constant and self.key[1] == LOOKUP

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
        self.changed = changed
        self.places: list[int] = [0, 0]

    def rows(self, name: str, function: str, x: Tensor, dims: Iterable[int]) -> Layout:
        """Take note of x. The forms have one sample, so all rows of x belong to it."""
        dims = list(dims)
        if not dims:
            raise NotServedError(f"{function} with {name} has no batch dimension")
        self._see(
            0, self.activations, Seen((name, function, tuple(x.shape)), x, candidates(x.shape, dims, self.samples))
        )
        return Layout(1, dims[0], x.shape[dims[0]])

    def lookup(self, name: str, index: Tensor) -> tuple[Tensor, Layout]:
        """Take note of an index."""
        return index, self.rows(name, LOOKUP, index, range(index.dim()))

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
            self.compare(kind, known[place], seen.x, self.changed)
        self.places[kind] += 1

    def compare(self, kind: int, first: Seen, x: Tensor, changed: Tensor) -> None:
        """Compare a tensor with that of the first run."""
        first.compare(x, changed)

    def finish(self) -> None:
        """End a run."""
        if self.places != [len(self.activations), len(self.orders)]:
            raise NotServedError("the calls depend on the values of the inputs")

    def measured(self) -> Places:
        """The only layout that fits each activation, but for indices that do not depend on the inputs, see `lookups.py`."""
        for seen in self.orders:
            if not seen.constant and seen.layout().dim in seen.ordered:
                raise NotServedError(f"{seen.key[1]} puts rows of different samples into an order that it computes")
        layouts: dict[Key, Layout] = {}
        for seen in self.activations:
            if seen.shared:
                continue
            layout = seen.layout()
            if layouts.setdefault(seen.key, layout) != layout:
                name, function, _ = seen.key
                raise NotServedError(f"the samples are in different dimensions in two calls of {function} with {name}")
        return Places(layouts)


def digits(samples: int) -> list[Tensor]:
    """For each binary digit of the samples' numbers from 1, the samples whose number has it, (B,)."""
    numbers = torch.arange(1, samples + 1)
    return [(numbers >> digit) % 2 == 1 for digit in range(samples.bit_length())]


class Watching(TorchFunctionMode):
    """Within it, an observer takes note of orders, and F.batch_norm, which mixes samples in training, has fixed statistics."""

    def __init__(self, observer: Observer) -> None:
        super().__init__()
        self.orders: Orders = Orders(observer.order)

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


@contextmanager
def same_random_numbers(leaves: Sequence[Any]) -> Iterator[RandomNumbers]:
    """Every run draws the same random numbers, and the generators of torch are as before afterwards."""
    random = RandomNumbers(leaves)
    try:
        for generator in random.generators:
            generator.manual_seed(0)
        yield random
    finally:
        random.restore()


def nearly_equal(a: Tensor, b: Tensor) -> bool:
    """Whether two results are equal but for rounding."""
    if a.shape != b.shape:
        return False
    if not a.is_floating_point() or not a.numel():
        return True  # which of two numbers is larger may be a matter of rounding
    low = a.dtype in (torch.float16, torch.bfloat16) or autocasts(a.device.type)
    a, b = (x.double().nan_to_num() for x in (a, b))
    return bool((a - b).abs().max() <= (0.1 if low else 0.01) * a.abs().max())


Run = Callable[[Observer, Sequence[Any], Mapping[str, Form]], Sequence[Any]]
"""Calls a copy of a target with slots that belong to the observer, and returns the leaves of its result. The weights are those
of the first sample, but for the forms that are given."""


def measure(
    run: Run, observer: Observer, leaves: Sequence[Any], changed: Tensor | None, forms: Mapping[str, Form] | None = None
) -> tuple[list[Tensor], bool]:
    """One run: the tensors that are returned, and whether random numbers were drawn.

    Args:
        run: calls the target.
        observer: takes note.
        leaves: the leaves of the arguments.
        changed: the samples in which this run differs from the first; None for the first.
        forms: parameters that do not have the weights of the first sample, by name.
    """
    with same_random_numbers(leaves) as random, Watching(observer):
        before = random.states()
        observer.start(changed)
        results = [part for part in run(observer, leaves, forms or {}) if isinstance(part, Tensor)]
        observer.finish()
        drawn = not all(map(torch.equal, before, random.states()))
    return results, drawn
