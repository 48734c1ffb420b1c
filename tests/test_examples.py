"""The examples: run as a reader would run them, and held to what they say."""

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

needs_mnist = pytest.mark.skipif(
    not (Path(os.environ.get("HYPERNETWORKS_DATA", "")) / "mnist").is_dir(),
    reason="needs MNIST in the folder mnist of $HYPERNETWORKS_DATA",
)


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_mnist
def test_every_task_gets_its_lora():
    results = example("lora").main()
    alone, with_update = zip(*results.values(), strict=True)
    assert alone[0] > 90  # upright digits are what the frozen net knows
    assert max(alone[1:]) < 60
    assert min(with_update) > 80


@needs_mnist
def test_the_regulariser_keeps_what_was_learned():
    forgetting = example("continual").main()
    assert forgetting["without"] > 10
    assert forgetting["with"] < 2


@needs_mnist
def test_codes_become_images(tmp_path):
    pytest.importorskip("matplotlib")
    psnr = example("implicit_image").main(str(tmp_path / "picture.png"))
    assert psnr > 20
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
