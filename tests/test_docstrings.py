"""The examples in docstrings run and print what they show."""

import doctest
import importlib
import pkgutil

import pytest
import torch

import hypernetworks as hn

MODULES = [
    module.name
    for module in pkgutil.walk_packages(hn.__path__, "hypernetworks.")
    if not module.name.endswith("__main__")
]

NEEDS = {"hypernetworks.analysis.plots": "matplotlib"}
"""Optional packages that the examples of a module use."""


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as missing:
        pytest.skip(f"{missing.name} is not installed")
    failed, _ = doctest.testmod(module, extraglobs={"torch": torch, "hn": hn}, report=True)
    assert failed == 0
