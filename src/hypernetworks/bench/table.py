"""Figures as lines of text: ratios first, then what they were made of."""

from collections.abc import Iterable
from statistics import median

from hypernetworks.bench.figures import Figure, Group
from hypernetworks.bench.products import flops, lstm_products
from hypernetworks.bench.sizes import WHAT, Quantity, Size

MS, MB = 1e3, 1 / 2**20
COLUMNS = {
    "/ nn.LSTM": "/ nn.LSTM",
    "labml_nn": "labml_nn /",
    "jax": "jax /",
    "products": "/ products",
}
"""The ratios and their headings: a figure over another's, or another's over it."""


def heading(quantity: Quantity, size: Size, busy: bool) -> str:
    """What stands above the rows of a quantity and size."""
    if quantity == "memory":
        values = f"{'MB':>10}"
        busy = False
    else:
        values = f"{'min ms':>10}{'median ms':>11}"
    ratios = "".join(f"{title:>11}" for title in COLUMNS.values())
    occupied = f"{'busy ms':>11}{'busy/idle':>11}{'/ nn.LSTM':>11}" if busy else ""
    title = f"\n{WHAT[quantity]} · {size}"
    return f"{title}\n{'network':<17}{'run by':<15}{ratios}{values}{'differs':>10}{occupied}"


def rows(group: Group) -> Iterable[str]:
    """A line for each figure."""
    for figure in group.figures:
        label = f"{figure.network:<17}{figure.contender:<15}"
        if figure.refusal is not None:
            yield f"{label}  no figure: {figure.refusal}"
        else:
            yield (label + _ratios(figure, group) + _values(figure) + _note(figure) + _busy(figure, group)).rstrip()


def _ratios(figure: Figure, group: Group) -> str:
    ratios = (
        group.to(figure, "nn.LSTM"),
        group.of(figure, "labml_nn"),
        group.of(figure, "jax"),
        None if figure.contender == "products" else group.to(figure, "products"),
    )
    return "".join(" " * 11 if ratio is None else f"{ratio:>11.2f}" for ratio in ratios)


def _values(figure: Figure) -> str:
    if figure.quantity == "memory":
        return f"{figure.values[0] * MB:>10.1f}"
    return f"{_digits(min(figure.values) * MS):>10}{_digits(median(figure.values) * MS):>11}"


def _note(figure: Figure) -> str:
    """How far the numbers are from the reference's; of products, how many are made."""
    if figure.flops is not None:
        times = figure.flops / flops(lstm_products(figure.size), figure.size)[figure.quantity]
        return f"  {figure.flops / min(figure.values) / 1e9:.0f} GFLOP/s; {times:.2f} times nn.LSTM's operations"
    return " " * 10 if figure.difference is None else f"{figure.difference or 0:>10.2g}"


def _busy(figure: Figure, group: Group) -> str:
    if not figure.busy:
        return ""
    ratio = group.to(figure, "nn.LSTM", busy=True)
    against = "" if ratio is None else f"{ratio:>11.2f}"
    slower = min(figure.busy) / min(figure.values)
    return f"{_digits(min(figure.busy) * MS):>11}{slower:>11.2f}{against}"


def _digits(value: float) -> str:
    """Milliseconds to three digits or more."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.3f}"
