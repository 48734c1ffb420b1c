"""Measures where the samples are in generated tables that all of them look up at the same places, such as tables of positions.

    index (T,), (1, T), (T, 1)     all samples share it: it is repeated for each, in a new dimension or in the one of size 1
    index (B, T)                   token types, for example, which are the same for other inputs

Such an index does not change with the inputs, so these cannot show where a sample's rows belong. Changed tables can. For each
possible layout the target runs with the tables of the first sample, and then with changed tables for some samples, as in
`probe.py`. A layout fits if the activations and the result change for these samples only, and if with a changed table for every
sample the first sample and the last have what they have alone. It is used if it is the only one that fits.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from hypernetworks.weights.forms import Form, LowRank
from hypernetworks.weights.layout import Layout, Repeated, candidates, differs, of_samples
from hypernetworks.weights.per_sample.observer import (
    LOOKUP,
    Key,
    Observer,
    Places,
    Run,
    Seen,
    digits,
    measure,
    nearly_equal,
)
from hypernetworks.weights.per_sample.refusals import Refusals
from hypernetworks.weights.per_sample.slots import NotServedError

_MIXED = "a table that all samples look up at the same places changes the rows of others"


class Trials:
    """Tries the layouts of all indices that do not depend on the inputs.

    Args:
        run: calls the target.
        forms: the generated parameters.
        leaves: the leaves of the arguments.
        alone: those of single samples, by their number, whose results can be compared.
        wanted: where the samples are in the returned tensors.
        before: what was seen with other inputs.
    """

    def __init__(
        self,
        run: Run,
        forms: Mapping[str, Form],
        leaves: Sequence[Any],
        alone: Mapping[int, Sequence[Any]],
        wanted: Sequence[Layout],
        before: Observer,
    ) -> None:
        self.run: Run = run
        self.forms: Mapping[str, Form] = forms
        self.leaves: Sequence[Any] = leaves
        self.alone: Mapping[int, Sequence[Any]] = alone
        self.wanted: Sequence[Layout] = wanted
        self.before: Observer = before

    def complete(self, places: Places) -> Places:
        """The places, and those of these indices.

        Raises:
            NotServedError: none fits an index, or several do, or a table is used in another way, too.
        """
        shared: dict[str, dict[Key, None]] = {}
        for seen in self.before.activations:
            if seen.shared:
                shared.setdefault(seen.key[0], {})[seen.key] = None
        for name, keys in shared.items():
            fitting: list[dict[Key, Layout | Repeated]] = []
            # parts of a table have names of their own, and have no form that could be replaced
            if name in self.forms and all(seen.shared for seen in self.before.activations if seen.key[0] == name):
                possible = (dict(zip(keys, hows, strict=True)) for hows in product(*map(self._possible, keys)))
                fitting = [hows for hows in possible if self._fits(name, hows)]
            if len(fitting) != 1:
                what = "several dimensions may hold" if fitting else "no dimension holds"
                raise NotServedError(f"{what} the samples in the input of {LOOKUP} with {name}")
            for key, how in fitting[0].items():
                if isinstance(how, Repeated):
                    places.repeated[key] = how
                else:
                    places.layouts[key] = how
        return places

    def _possible(self, key: Key) -> Iterator[Layout | Repeated]:
        """The layouts that an index of this shape can have."""
        shape, samples = key[2], self.before.samples
        yield from candidates(shape, range(len(shape)), samples)
        if len(shape) == 1:
            yield Repeated(samples, 0, new=True)
        yield from (Repeated(samples, dim) for dim, size in enumerate(shape) if size == 1)

    def _fits(self, name: str, hows: Mapping[Key, Layout | Repeated]) -> bool:
        """Whether layouts of all indices into a table pass all runs."""
        samples = self.before.samples
        trial, table = _Trial(self.before, hows), _Changes(self.forms[name], samples)
        try:
            with Refusals("in this layout"):
                first, _ = measure(self.run, trial, self.leaves, None, {name: table.form(torch.zeros(samples))})
                trial.check()
                for changed in digits(samples):
                    results, _ = measure(self.run, trial, self.leaves, changed, {name: table.form(changed)})
                    for before, after, layout in zip(first, results, self.wanted, strict=True):
                        if (of_samples(differs(before, after), layout).cpu() & ~changed).any():
                            return False
                every = torch.ones(samples, dtype=torch.bool)
                together, _ = measure(self.run, trial, self.leaves, every, {name: table.form(every)})
                for n, given in self.alone.items():
                    own = {name: table.form(every).sample(n)}
                    apart, _ = measure(self.run, Observer(1), given, None, own)
                    if not all(
                        nearly_equal(layout.one(a, n), b)
                        for a, b, layout in zip(together, apart, self.wanted, strict=True)
                    ):
                        return False
        except NotServedError:
            return False
        return True


class _Changes:
    """The table of the first sample, to which another matrix of rank 1 is added for each changed sample."""

    def __init__(self, form: Form, samples: int) -> None:
        self.table = form.sample(0).materialize()[0]
        generator = torch.Generator().manual_seed(0)
        rows, columns = self.table.shape
        size = self.table.abs().max().clamp(min=0.1)
        self.rows = torch.randn(samples, rows, 1, generator=generator).to(self.table)
        self.columns = size * torch.randn(samples, 1, columns, generator=generator).to(self.table)

    def form(self, changed: Tensor) -> LowRank:
        """The tables of all samples."""
        return LowRank(self.table, self.rows * changed.to(self.table)[:, None, None], self.columns, 1.0)


class _Trial(Observer):
    """Runs in which indices have layouts that are tried. What else is seen has the layouts that were measured before."""

    def __init__(self, before: Observer, hows: Mapping[Key, Layout | Repeated]) -> None:
        super().__init__(before.samples)
        self.hows = hows
        self.known: tuple[list[Seen], list[Seen]] = (
            [seen for seen in before.activations if seen.key not in hows],
            before.orders,
        )

    def lookup(self, name: str, index: Tensor) -> tuple[Tensor, Layout]:
        """The index with the layout that is tried."""
        how = self.hows.get((name, LOOKUP, tuple(index.shape)))
        if how is None:
            return super().lookup(name, index)
        return (index, how) if isinstance(how, Layout) else (how.repeat(index), how.layout)

    def check(self) -> None:
        """Check that the same functions are called with tensors of the same shapes as before.

        Raises:
            NotServedError: they are not.
        """
        mine = ([seen.key for seen in part] for part in (self.activations, self.orders))
        if [*mine] != [[seen.key for seen in part] for part in self.known]:
            raise NotServedError("the shape of an activation is another than with one table for all samples")

    def compare(self, kind: int, first: Seen, x: Tensor, changed: Tensor) -> None:
        """Check that only the changed samples differ from the first run."""
        fitting = self.known[kind][self.places[kind]].fitting
        different = differs(first.x, x)
        if different.any() and (len(fitting) != 1 or (of_samples(different, fitting[0]).cpu() & ~changed).any()):
            raise NotServedError(_MIXED)
