"""Computations captured in CUDA graphs.

A captured graph reads and writes fixed addresses. So whoever captures one keeps tensors of its own: a call copies its inputs
in, replays the graph and copies the results out. Nothing of a call stays there, so any number of forward passes may come
before their backward passes. A computation is captured when its key comes for the second time.
"""

import contextlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

logger: logging.Logger = logging.getLogger(__name__)

MAX_CAPTURED = 32
"""How many captured computations are kept. The one that was used least recently is dropped first."""
SEEN = 1024
"""How many keys are remembered."""

Run = Callable[[], None]
Captured = TypeVar("Captured")


class Recorder(Protocol):
    """Records what `run` launches and returns its replay. `run` was called once before, so its kernels are compiled."""

    def __call__(self, run: Run) -> Run:
        """Record `run`."""
        ...


def record_cuda_graph(run: Run) -> Run:
    """Capture `run` in a CUDA graph, on a stream of its own."""
    current = torch.cuda.current_stream()
    side = torch.cuda.Stream()
    graph = torch.cuda.CUDAGraph()
    side.wait_stream(current)
    with torch.cuda.stream(side):
        # only this thread's calls are held to what a capture allows: others may allocate in the meantime
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            run()
        finally:
            graph.capture_end()
    current.wait_stream(side)
    return graph.replay


def on_device(x: Tensor) -> AbstractContextManager[Any]:
    """Within it, kernels are launched on the device of x."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


class GraphPool:
    """The captured computations of this process. Whoever uses one holds `lock` from copying in to copying out."""

    def __init__(self, record: Recorder) -> None:
        self.record = record
        self.lock: contextlib.AbstractContextManager[bool] = threading.RLock()
        self._works = True
        self._seen: OrderedDict[Hashable, bool] = OrderedDict()
        """The keys that came, and whether they may be captured: not after running out of memory."""
        self._captured: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, capture: Callable[[Recorder], Captured]) -> Captured | None:
        """What was captured for this key, or is captured now; None where the computation should run without a graph."""
        known = self.find(key)
        if known is not None or not (self._again(key) and self._works):
            return known
        while len(self._captured) >= MAX_CAPTURED:
            self._captured.popitem(last=False)
        try:
            self._captured[key] = capture(self.record)
        except torch.OutOfMemoryError:
            self._captured.clear()
            self._seen[key] = False
            logger.warning("out of memory while a CUDA graph was captured: this layer runs without one")
        except RuntimeError as error:
            self._works = False
            logger.warning("no CUDA graphs from now on, since a capture failed: %s", error)
        return self._captured.get(key)

    def find(self, key: Hashable) -> Any:
        """What was captured for this key, or None."""
        if key in self._captured:
            self._captured.move_to_end(key)
        return self._captured.get(key)

    def clear(self) -> None:
        """Forget everything."""
        with self.lock:
            self._seen.clear()
            self._captured.clear()

    def drop(self, belongs: Callable[[Hashable], bool]) -> None:
        """Drop what was captured for the keys that `belongs` selects."""
        with self.lock:
            for key in [key for key in self._captured if belongs(key)]:
                del self._captured[key]

    def _again(self, key: Hashable) -> bool:
        """Whether a key came before and may be captured. Remembers it."""
        allowed = self._seen.get(key)
        self._seen[key] = allowed is not False
        self._seen.move_to_end(key)
        while len(self._seen) > SEEN:
            self._seen.popitem(last=False)
        return allowed is True


pool: GraphPool = GraphPool(record_cuda_graph)
"""The captured computations of this process."""
