"""Real architectures with generated weights, against the reference of `reference.py`.

A part of the matrix runs by default; HYPERNETWORKS_LONG=1 runs all of it.
"""

import os

import pytest
import torch

import hypernetworks as hn

from .architecture import B
from .comparison import GENERATORS, autocast, checkpointed, compare
from .matrix import ARCHITECTURES, covering_cases, every_case

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the libraries are their own

CASES = every_case() if os.environ.get("HYPERNETWORKS_LONG") == "1" else covering_cases()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_equal_to_a_loop_and_the_target_is_untouched(case):
    compare(*case)


@pytest.mark.parametrize("per_sample", [False, True], ids=["one set", "per sample"])
@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda architecture: architecture.name)
def test_gradient_checkpointing(architecture, per_sample):
    if checkpointed(architecture, per_sample) == "no":
        pytest.skip("it has none")


@pytest.mark.parametrize("number", range(len(ARCHITECTURES)), ids=lambda number: ARCHITECTURES[number].name)
def test_autocast(number):
    if not ARCHITECTURES[number].autocasts:
        pytest.skip("it does not run in bfloat16 on the CPU")
    autocast(ARCHITECTURES[number], list(GENERATORS)[number % len(GENERATORS)])


def test_a_table_of_distances_for_each_sample_is_refused_with_the_way_out():
    """Its rows have the heads in their last dimension, and masks do not run under torch.func.vmap."""
    architecture = next(each for each in ARCHITECTURES if each.name == "T5")
    net = hn.HyperNetwork(architecture.build(), hn.FullGenerator(3), "*relative_attention_bias*")
    with pytest.raises(
        RuntimeError, match=r"no dimension holds the samples in the input of embedding.*A loop always can"
    ):
        net(**architecture.batch(masked=True), condition=torch.randn(B, 3, dtype=torch.float64))
