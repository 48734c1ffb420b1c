"""The package from outside: its names, what importing it brings along, what it is marked as."""

import inspect
import json
import subprocess
import sys
from importlib.metadata import version
from importlib.resources import files

import pytest
import torch

import hypernetworks as hn

NAMES = [name for name in hn.__all__ if name != "__version__"]


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    thing = getattr(hn, name)
    assert inspect.getdoc(thing)
    if inspect.isclass(thing):
        assert "__doc__" in vars(thing)
        assert vars(thing)["__doc__"].partition("Example:")[0].strip().endswith((".", ")"))


def test_all_is_sorted_and_complete() -> None:
    """Every public class that the package holds is in __all__, once."""
    assert len(set(hn.__all__)) == len(hn.__all__)
    classes = {name for name, thing in vars(hn).items() if inspect.isclass(thing) and not name.startswith("_")}
    assert classes <= set(hn.__all__)


def test_every_network_has_a_cell_and_stands_alone() -> None:
    networks = [name for name in NAMES if inspect.isclass(getattr(hn, name)) and f"{name}Cell" in NAMES]
    assert sorted(networks) == ["GRU", "HyperGRU", "HyperLSTM", "HyperRHN", "HyperRNN", "LSTM", "RHN", "RNN"]
    for name in networks:
        output, _ = getattr(hn, name)(3, 4)(torch.zeros(5, 2, 3))
        h, _ = getattr(hn, f"{name}Cell")(3, 4)(torch.zeros(2, 3))
        assert (output.shape, h.shape) == ((5, 2, 4), (2, 4))


def test_the_version_is_that_of_the_distribution() -> None:
    assert hn.__version__ == version("hypernetworks")


def test_types_are_marked_as_there() -> None:
    assert files("hypernetworks").joinpath("py.typed").is_file()


def test_importing_it_brings_torch_and_nothing_of_the_command_line() -> None:
    program = "import json, sys, hypernetworks; print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    loaded = set(json.loads(done.stdout))
    assert "torch" in loaded
    assert not loaded & {"matplotlib", "tyro", "rich", "safetensors", "huggingface_hub"}
    assert not [name for name in loaded if name.startswith(("hypernetworks.text", "hypernetworks.training"))]
