"""The measurements as lines of text: ratios first, then the numbers behind them."""

from collections.abc import Iterable, Sequence
from statistics import median

from hypernetworks.bench.flops import flops_over_lstm
from hypernetworks.bench.measurements import Group, Measurement
from hypernetworks.bench.products import flops, lstm_products
from hypernetworks.bench.sizes import DESCRIPTIONS, Quantity, Size
from hypernetworks.experiments.networks import NetworkName

MS, MB = 1e3, 1 / 2**20
COLUMNS = ("/ nn.LSTM", "/ GRU, RNN", "labml_nn /", "jax /", "/ products")
"""The ratios: a measurement divided by another, or another divided by it. "GRU, RNN" is torch's network of the same name."""


def heading(quantity: Quantity, size: Size, networks: Sequence[NetworkName], busy: bool) -> str:
    """The heading above the rows of a quantity and size."""
    lines = [f"\n{DESCRIPTIONS[quantity]} · {size}"]
    if quantity in ("forward", "training"):
        counts = (f"{network} {flops_over_lstm(network, size, quantity):.2f}" for network in networks)
        lines += [f"FLOPs / nn.LSTM's: {', '.join(counts)}"]
    if quantity == "memory":
        values = f"{'MB':>10}"
        busy = False
    else:
        values = f"{'min ms':>10}{'median ms':>11}"
    ratios = "".join(f"{title:>11}" for title in COLUMNS)
    occupied = f"{'busy ms':>11}{'busy/idle':>11}{'/ nn.LSTM':>11}" if busy else ""
    return "\n".join([*lines, f"{'network':<17}{'run by':<15}{ratios}{values}{'differs':>10}{occupied}"])


def rows(group: Group) -> Iterable[str]:
    """A line for each measurement."""
    for measurement in group.measurements:
        label = f"{measurement.network:<17}{measurement.implementation:<15}"
        if measurement.refusal is not None:
            yield f"{label}  not measured: {measurement.refusal}"
        else:
            numbers = (_ratios(measurement, group), _values(measurement), _note(measurement), _busy(measurement, group))
            yield (label + "".join(numbers)).rstrip()


def _ratios(measurement: Measurement, group: Group) -> str:
    ratios = (
        group.to(measurement, "nn.LSTM"),
        group.to(measurement, "nn.GRU") or group.to(measurement, "nn.RNN"),
        group.of(measurement, "labml_nn"),
        group.of(measurement, "jax"),
        None if measurement.implementation == "products" else group.to(measurement, "products"),
    )
    return "".join(" " * 11 if ratio is None else f"{ratio:>11.2f}" for ratio in ratios)


def _values(measurement: Measurement) -> str:
    if measurement.quantity == "memory":
        return f"{measurement.values[0] * MB:>10.1f}"
    return f"{_digits(min(measurement.values) * MS):>10}{_digits(median(measurement.values) * MS):>11}"


def _note(measurement: Measurement) -> str:
    """The difference from the reference; for the products, the rate and number of operations."""
    if measurement.flops is not None:
        times = measurement.flops / flops(lstm_products(measurement.size), measurement.size)[measurement.quantity]
        rate = measurement.flops / min(measurement.values) / 1e9
        return f"  {rate:.0f} GFLOP/s; {times:.2f} times nn.LSTM's operations"
    return " " * 10 if measurement.difference is None else f"{measurement.difference or 0:>10.2g}"


def _busy(measurement: Measurement, group: Group) -> str:
    if not measurement.busy:
        return ""
    ratio = group.to(measurement, "nn.LSTM", busy=True)
    against = "" if ratio is None else f"{ratio:>11.2f}"
    slower = min(measurement.busy) / min(measurement.values)
    return f"{_digits(min(measurement.busy) * MS):>11}{slower:>11.2f}{against}"


def _digits(value: float) -> str:
    """Milliseconds to three digits or more."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.3f}"
