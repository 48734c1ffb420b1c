"""Who is measured: the paths of a network, and beside them torch.nn.LSTM, labml_nn, JAX and the bare products."""

from collections.abc import Callable
from functools import partial

from hypernetworks.bench import jax_scan, labml
from hypernetworks.bench.implementation import Case, Implementation, our_cell, our_network, torch_lstm, torch_lstm_cell
from hypernetworks.bench.products import Products
from hypernetworks.bench.sizes import Quantity
from hypernetworks.recurrent.native.build import library

PATHS = ("native", "compiled", "reference")

MAKERS: dict[str, Callable[[Case], Implementation]] = {
    **{path: partial(our_network, path=path) for path in PATHS},
    "labml_nn": labml.labml_network,
    "jax": jax_scan.JaxScan,
    "products": lambda case: Products(case.size),
    "nn.LSTM": torch_lstm,
    **{f"{path} cell": partial(our_cell, path=path) for path in PATHS},
    "labml_nn cell": labml.labml_cell,
    "nn.LSTMCell": torch_lstm_cell,
}
"""Each implementation by its name."""


def available_implementations(case: Case, quantity: Quantity, with_compiled: bool) -> list[str]:
    """The names of those that are there for this network and quantity, the paths of this package first."""
    cell = case.module.cell(0)
    has_native = cell.native is not None and cell.native_parameters() is not None and library() is not None
    paths = [path for path, there in zip(PATHS, (has_native, with_compiled, True), strict=True) if there]
    others = []
    if case.network == "hyper-lstm":
        installed = {"labml_nn": labml.is_installed(), "jax": jax_scan.is_installed()}
        others += [name for name, there in installed.items() if there]
        others += ["products"] if quantity in ("forward", "training") else []
    names = [*paths, *others, "nn.LSTM"]
    if quantity == "generation":
        names += [f"{name} cell" for name in names if f"{name} cell" in MAKERS] + ["nn.LSTMCell"]
    return names


def baseline_name(name: str, other: str) -> str:
    """The implementation that stands for `other` beside the implementation `name`: a cell is measured by a cell."""
    if not name.endswith(("cell", "Cell")):
        return other
    return {"nn.LSTM": "nn.LSTMCell"}.get(other, f"{other} cell")


def is_ours(name: str) -> bool:
    """Whether an implementation is a path of this package."""
    return name.removesuffix(" cell") in PATHS
