"""Huge pages for what a forward pass keeps: 2 MiB at a time are given by the system at the first touch, not 4 KiB.

A training step of HyperLSTM (H = 1000, 12,800 rows) keeps 540 MB, which are fresh at every step: 130,000 small pages.
"""

import ctypes
import functools
import mmap
import sys
from typing import Any

from torch import Tensor

LARGE = 4 << 20
"""Bytes from which on a tensor is worth the asking."""


def on_huge_pages(tensor: Tensor) -> None:
    """Ask for huge pages under a fresh tensor, where it is large and the system is Linux; its numbers stay as they are.

    It is advice: a system that gives none gives small pages, as before.
    """
    advise = _madvise()
    if advise is None or tensor.nbytes < LARGE:
        return
    # whole pages within the tensor
    begin = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (tensor.data_ptr() + tensor.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    advise(begin, end - begin, mmap.MADV_HUGEPAGE)


@functools.cache
def _madvise() -> Any:
    if sys.platform != "linux":
        return None
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return advise
