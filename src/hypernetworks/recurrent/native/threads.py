"""How many threads a kernel may use.

A child made by fork has none of its parent's threads, but OpenMP believes that it has, and waits for them forever. So in a
forked child the kernels run on one thread.
"""

import os

import torch

_forked = False


def thread_count() -> int:
    """torch.get_num_threads(), or 1 in a process that was forked after this module was imported."""
    return 1 if _forked else torch.get_num_threads()


def _in_child() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
