"""Huge pages are asked for under large tensors alone, and within them."""

import re
import sys
from pathlib import Path

import pytest
import torch

from hypernetworks.recurrent.native.huge_pages import LARGE, on_huge_pages

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux alone")


def is_advised(address: int) -> bool:
    """Whether the mapping that an address lies in has the flag of such advice."""
    for part in re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text()):
        begin, end = (int(number, 16) for number in part.split(" ", 1)[0].split("-"))
        if begin <= address < end:
            return " hg" in part.rsplit("VmFlags:", 1)[1]
    raise AssertionError(f"{address:x} is not mapped")


@on_linux
@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="this Linux has no huge pages")
def test_the_pages_of_a_large_tensor_are_advised_and_no_others() -> None:
    whole = torch.arange(80 << 20, dtype=torch.uint8)  # larger than what malloc keeps: mapped for itself
    large = whole[1000 : -(8 << 20)]
    expected = large.clone()
    on_huge_pages(large)
    assert torch.equal(large, expected)
    assert is_advised(large.data_ptr() + large.nbytes // 2)
    assert not is_advised(whole.data_ptr())
    assert not is_advised(whole.data_ptr() + whole.nbytes - 4096)


@on_linux
def test_small_tensors_stay_as_they_are() -> None:
    whole = torch.zeros(80 << 20, dtype=torch.uint8)
    on_huge_pages(whole[: LARGE - 1])
    assert not is_advised(whole.data_ptr() + 8192)
