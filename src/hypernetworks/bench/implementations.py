"""The implementations to measure: the paths of a network, torch's own networks, labml_nn, JAX and the bare matrix products."""

from collections.abc import Callable
from functools import partial

import torch

from hypernetworks.bench import jax_scan, labml
from hypernetworks.bench.case import Case
from hypernetworks.bench.implementation import (
    Implementation,
    OurStepper,
    our_cell,
    our_network,
    torch_cell,
    torch_network,
)
from hypernetworks.bench.products import Products
from hypernetworks.bench.sizes import Quantity
from hypernetworks.recurrent.native.kernels import library

PATHS = ("native", "compiled", "reference")
TORCH_KINDS = ("LSTM", "GRU", "RNN")
STEPPERS = {f"step {weights}": weights for weights in ("float32", "bfloat16", "int8")}
"""Steppers, by the storage of their weights."""

MAKERS: dict[str, Callable[[Case], Implementation]] = {
    **{path: partial(our_network, path=path) for path in PATHS},
    "labml_nn": labml.labml_network,
    "jax": jax_scan.JaxScan,
    "products": lambda case: Products(case.size),
    **{f"nn.{kind}": partial(torch_network, kind=kind) for kind in TORCH_KINDS},
    **{f"{path} cell": partial(our_cell, path=path) for path in PATHS},
    **{name: partial(OurStepper, weights=weights) for name, weights in STEPPERS.items()},
    "labml_nn cell": labml.labml_cell,
    **{f"nn.{kind}Cell": partial(torch_cell, kind=kind) for kind in TORCH_KINDS},
}
"""A function for each implementation, by name."""


def available_implementations(case: Case, quantity: Quantity, with_compiled: bool) -> list[str]:
    """The names of the implementations that exist for this network and quantity, the paths of this package first."""
    cell = case.module.cell(0)
    has_native = cell.native is not None and cell.native_parameters() is not None and library() is not None
    paths = [path for path, exists in zip(PATHS, (has_native, with_compiled, True), strict=True) if exists]
    others = []
    if case.network == "hyper-lstm":
        installed = {"labml_nn": labml.is_installed(), "jax": jax_scan.is_installed()}
        others += [name for name, is_installed in installed.items() if is_installed]
        others += ["products"] if quantity in ("forward", "training") else []
    networks = [f"nn.{kind}" for kind in _torch_kinds(case)]
    names = [*paths, *others, *networks]
    if quantity == "generation":
        cells = [f"{name} cell" for name in names if f"{name} cell" in MAKERS]
        names += [*cells, *(STEPPERS if has_native else ()), *(f"{name}Cell" for name in networks)]
    return names


def _torch_kinds(case: Case) -> list[str]:
    """torch's network of the same name, for instance GRU for hn.GRU, and LSTM, with which every network is compared."""
    own = type(case.module).__name__
    return [own, "LSTM"] if own in TORCH_KINDS and own != "LSTM" else ["LSTM"]


def counterpart(name: str, other: str) -> str:
    """The implementation of `other` with which `name` is compared: a cell or a stepper is compared with a cell."""
    if name not in STEPPERS and not name.endswith(("cell", "Cell")):
        return other
    return f"{other}Cell" if is_torch(other) else f"{other} cell"


def is_ours(name: str) -> bool:
    """Whether an implementation is of this package: a path or a stepper."""
    return name in STEPPERS or name.removesuffix(" cell") in PATHS


def is_torch(name: str) -> bool:
    """Whether an implementation is a network or cell of torch.nn."""
    return hasattr(torch.nn, name.removeprefix("nn."))
