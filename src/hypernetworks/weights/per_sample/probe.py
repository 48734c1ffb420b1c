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

Two more runs, of the first sample and of the last, each as a batch of one, have to give what they have in the batch: a target
may divide by the size of the batch, number its rows, or decide by the values of all. The last is compared in a batch in which
every sample has another spread of values. Else a target that divides by the largest value of all would pass with inputs of
which every sample has the same largest value, such as saturated images. The results may differ by rounding. Where random
numbers are drawn, or an argument is an object that holds tensors of all samples, they cannot be compared.

A measurement leaves no trace: what the target writes into its own tensors is taken back (`writes.py`), and what is closed by a
zero is open in its copies (`gates.py`). `measurements.py` says when a target is measured again.

The weights are those of the first sample, for all: where the samples are does not depend on them. Tables that all samples look
up at the same places are measured by other tables, see `lookups.py`. F.batch_norm, which mixes samples in training, is taken
with fixed statistics. Rows that the target orders itself must stay within a sample, see `orders.py`. What is not seen is a
target that, for other values of its inputs, calls the same functions with activations of the same shapes but with the samples
in another dimension.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hypernetworks.weights.forms import Form
from hypernetworks.weights.layout import Layout, differs, of_samples
from hypernetworks.weights.per_sample.lookups import Trials
from hypernetworks.weights.per_sample.objects import tensors_inside
from hypernetworks.weights.per_sample.observer import Observer, Places, Run, digits, measure, nearly_equal
from hypernetworks.weights.per_sample.refusals import Refusals
from hypernetworks.weights.per_sample.slots import NotServedError


@torch.no_grad()
def probe(
    run: Run,
    forms: Mapping[str, Form],
    leaves: Sequence[Any],
    places: Sequence[Layout | None],
    returned: Callable[[int, Tensor], Layout],
) -> Places:
    """Measure where the samples are in the activations.

    Args:
        run: calls a copy of the target.
        forms: the generated parameters.
        leaves: the leaves of the arguments.
        places: where the samples are in each; None for what is shared, and for no tensors.
        returned: where they should be in the k-th returned tensor. It raises if they cannot be there.

    Raises:
        NotServedError: a layout cannot be known, or samples mix.
    """
    samples = next(iter(forms.values())).samples
    observer = Observer(samples)
    results, drawn = measure(run, observer, leaves, None)
    first = [result.clone() for result in results]
    wanted = [returned(k, result) for k, result in enumerate(first)]
    for changed in digits(samples):
        with Refusals("for other values of the inputs"):
            results, _ = measure(run, observer, replaced(leaves, places, changed), changed)
        if [result.shape for result in results] != [result.shape for result in first]:
            raise NotServedError("what is returned depends on the values of the inputs")
        for before, after, layout in zip(first, results, wanted, strict=True):
            if (of_samples(differs(before, after), layout).cpu() & ~changed).any():
                raise NotServedError("a returned tensor has samples in another dimension, or mixes them")
    opaque = any(not isinstance(leaf, Tensor) and any(True for _ in tensors_inside(leaf)) for leaf in leaves)
    alone = {} if drawn or opaque else {n: one(leaves, places, n) for n in (0, samples - 1)}
    if alone:
        _compare_alone(run, alone[0], first, wanted, 0)
        spread = spread_out(leaves, places)
        with Refusals("for other values of the inputs"):
            results, _ = measure(run, Observer(samples), spread, None)
        if [result.shape for result in results] != [result.shape for result in first]:
            raise NotServedError("what is returned depends on the values of the inputs")
        _compare_alone(run, one(spread, places, samples - 1), results, wanted, samples - 1)
    measured = observer.measured()
    return Trials(run, forms, leaves, alone, wanted, observer).complete(measured)


def _compare_alone(run: Run, given: Sequence[Any], batch: Sequence[Tensor], wanted: Sequence[Layout], n: int) -> None:
    """Check that sample n alone, which is given these leaves, has the results that it has in a batch."""
    with Refusals("for one sample alone"):
        results, _ = measure(run, Observer(1), given, None)
    for together, apart, layout in zip(batch, results, wanted, strict=True):
        if not nearly_equal(layout.one(together, n), apart):
            raise NotServedError("the result for a sample depends on the batch that it is in")


def one(leaves: Sequence[Any], places: Sequence[Layout | None], n: int) -> list[Any]:
    """The arguments of sample n alone."""
    return [leaf if place is None else place.one(leaf, n) for leaf, place in zip(leaves, places, strict=True)]


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
        where = place.along(changed.to(leaf.device), rows)
        given[k] = place.together(torch.where(where, place.apart(_others(leaf)), rows))
    return given


def spread_out(leaves: Sequence[Any], places: Sequence[Layout | None]) -> list[Any]:
    """The arguments with another spread of values for each sample.

    x_n ← m + s_n (x_n − m), with m the mean of all, and s_n from 1 to 0.8
    """
    given = list(leaves)
    for k, place in enumerate(places):
        leaf = leaves[k]
        if place is None or not leaf.is_floating_point() or not leaf.isfinite().any() or _flags(leaf):
            continue
        rows = place.apart(leaf)
        s = place.along(torch.linspace(1, 0.8, place.samples, dtype=leaf.dtype, device=leaf.device), rows)
        m = leaf[leaf.isfinite()].mean()
        given[k] = place.together(torch.where(rows.isfinite(), m + s * (rows - m), rows))
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
