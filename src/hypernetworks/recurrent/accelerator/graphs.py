"""Time loops captured in CUDA graphs, and who may use their memory.

A captured graph reads and writes fixed addresses, so each captured layer has its own tensors. A call leases a captured layer:
it copies its inputs in, replays the graph, and copies the answer out. If a backward pass follows, the call holds the lease
until autograd frees what was saved for it. Meanwhile, another call of the same shape (the next layer, the other direction, a
second forward) gets a captured layer of its own, up to a limit. Beyond the limit it runs without a graph, on fresh memory.
"""

import logging
import weakref
from collections import OrderedDict
from collections.abc import Callable
from threading import RLock
from typing import Protocol

import torch
from torch import Tensor

from .launch import Launch
from .lstm import LSTMLoop, Tensors
from .shape import LayerShape

logger = logging.getLogger(__name__)

MAX_CAPTURED = 32
"""How many captured layers are kept. The shape that was used least recently is dropped first."""
SEEN = 256
"""How many shapes are remembered: a graph is captured when a shape is seen for the second time."""

Run = Callable[[], None]


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


class _Held(bytearray):
    """The memory of a token. A bytearray cannot be referred to weakly; a subclass can."""


class Memory:
    """The tensors of one layer, and how its loops are run on them."""

    def __init__(self, shape: LayerShape, launch: Launch) -> None:
        self.shape = shape
        self.loop = LSTMLoop(shape, launch)
        self.tensors = room(shape, self.loop.inputs() | self.loop.made())
        self.forward: Run = lambda: self.loop.forward(self.tensors)


class CapturedMemory(Memory):
    """The same with captured loops, one forward and one backward."""

    def __init__(self, shape: LayerShape, launch: Launch, record: Recorder, scratch: Tensors) -> None:
        super().__init__(shape, launch)
        self.scratch = scratch
        self.free = True
        for tensor in self.tensors.values():
            tensor.zero_()
        self.forward = self._record(record, lambda: self.loop.forward(self.tensors))
        if shape.save:
            everything = self.tensors | scratch
            self.backward = self._record(record, lambda: self.loop.backward(everything))

    def lease(self) -> Tensor:
        """A token: the lease lasts until the last tensor that shares its memory is freed."""
        self.free = False
        held = _Held(1)
        weakref.finalize(held, self._give_back)
        return torch.frombuffer(held, dtype=torch.uint8)

    def _give_back(self) -> None:
        self.free = True

    @staticmethod
    def _record(record: Recorder, run: Run) -> Run:
        run()  # compiles and loads every kernel
        return record(run)


class GraphPool:
    """All captured layers of this process."""

    def __init__(self, launch: Launch, record: Recorder) -> None:
        self.launch = launch
        self.record = record
        self.lock = RLock()
        self._works = True
        self._seen: OrderedDict[tuple, None] = OrderedDict()
        self._captured: OrderedDict[tuple, list[CapturedMemory]] = OrderedDict()
        self._scratch: dict[tuple, Tensors] = {}

    def memory(self, shape: LayerShape, stream: int) -> tuple[Memory, Tensor | None]:
        """Memory to run a layer of this shape, and the token of its lease; None for fresh memory."""
        key = (shape, stream)
        with self.lock:
            if not self._again(key) or not self._works:
                return Memory(shape, self.launch), None
            entries = self._captured.setdefault(key, [])
            self._captured.move_to_end(key)
            for entry in entries:
                if entry.free:
                    return entry, entry.lease()
            if not self._make_room(key):
                return Memory(shape, self.launch), None
            entry = self._capture(key)
            if entry is None:
                return Memory(shape, self.launch), None
            entries.append(entry)
            return entry, entry.lease()

    def clear(self) -> None:
        """Forget all captured layers. Those on lease live until their leases end."""
        with self.lock:
            self._seen.clear()
            self._captured.clear()
            self._scratch.clear()

    def _capture(self, key: tuple) -> CapturedMemory | None:
        """A captured layer; None, with a warning, if the capture fails."""
        shape = key[0]
        try:
            if shape.save and key not in self._scratch:
                self._scratch[key] = room(shape, LSTMLoop(shape, self.launch).scratch())
                for tensor in self._scratch[key].values():
                    tensor.zero_()
            return CapturedMemory(shape, self.launch, self.record, self._scratch.get(key, {}))
        except torch.OutOfMemoryError:
            self.clear()
            logger.warning("out of memory while a CUDA graph was captured: this layer runs without one")
        except RuntimeError as error:
            self._works = False
            logger.warning("no CUDA graphs from now on, since a capture failed: %s", error)
        return None

    def _again(self, key: tuple) -> bool:
        """Whether a shape was seen before. Remembers it."""
        again = key in self._seen
        self._seen[key] = None
        self._seen.move_to_end(key)
        while len(self._seen) > SEEN:
            self._seen.popitem(last=False)
        return again

    def _make_room(self, key: tuple) -> bool:
        """Make room for one more captured layer by dropping the keys used least recently; False if only this key is left."""
        while sum(map(len, self._captured.values())) >= MAX_CAPTURED:
            oldest = next(iter(self._captured))
            if oldest == key:
                return False
            self._captured.pop(oldest)
            self._scratch.pop(oldest, None)
        return True


def room(shape: LayerShape, tensors: dict[str, tuple[tuple[int, ...], torch.dtype]]) -> Tensors:
    """Fresh memory for tensors of these shapes and dtypes."""
    return {name: torch.empty(size, dtype=dtype, device=shape.device) for name, (size, dtype) in tensors.items()}
