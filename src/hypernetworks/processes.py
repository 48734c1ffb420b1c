"""Several processes that train one model: rank, communication, and the parts of a batch.

torchrun starts the processes and sets RANK, WORLD_SIZE and LOCAL_RANK. Without it, the functions here act as for a group of
one process. Only tensors are sent, through gloo, or NCCL if they are on CUDA; nothing is unpickled.

P processes get equal shares of a batch. Each computes its share in A equal parts, one after another:

    loss = 1/P Σ_processes 1/A Σ_parts (mean over the part's places) = mean over the batch's places
"""

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from hypernetworks.errors import FaultError, UsageError

_ARRIVAL: Final = timedelta(minutes=5)
"""How long a process waits at the start for the others."""

_PATIENCE: Final = timedelta(days=1)
"""How long a process waits for another: one scores a long text while the others wait. torchrun detects those that died."""


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def count() -> int:
    """P, the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this is the process that writes and prints."""
    return rank() == 0


def print_once(*lines: str) -> None:
    """Print lines in the first process only."""
    if is_first():
        print(*lines, sep="\n")


def warn_once(line: str) -> None:
    """Print a line on standard error, in the first process only; nothing if it is empty."""
    if line and is_first():
        print(line, file=sys.stderr)


def _started(name: str, alone: int) -> int:
    return int(os.environ.get(name, alone))


def was_restarted() -> bool:
    """Whether torchrun started this process again after one died."""
    return _started("TORCHELASTIC_RESTART_COUNT", 0) > 0


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Join the processes that torchrun started to a group while the context is open. Without torchrun, do nothing.

    Args:
        device: the name of the device to train on. Unless it is "cpu", each process uses the CUDA device of its LOCAL_RANK.

    Raises:
        UsageError: this machine has fewer CUDA devices than processes.
        FaultError: another process exited or cannot be reached.
    """
    if _started("WORLD_SIZE", 1) == 1:
        yield
        return
    cuda = device != "cpu" and torch.cuda.is_available()
    if cuda:
        _take_device(_started("LOCAL_RANK", 0))
    try:
        _join("cpu:gloo,cuda:nccl" if cuda else "gloo")
        yield
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        reason = str(error).partition("\n")[0]
        raise FaultError(f"another process exited or cannot be reached: {reason}") from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _join(backend: str) -> None:
    """Make the process group of this start.

    torchrun keeps one store across restarts. It still holds the addresses of processes that died, and a process that reads one
    waits forever. So each start uses its own prefix, and no address is read before all processes are present.
    """
    store, own, P = next(rendezvous("env://", timeout=_ARRIVAL))
    store = PrefixStore(f"start {_started('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    store.set(f"process {own}", "here")
    store.wait([f"process {number}" for number in range(P)], _ARRIVAL)
    dist.init_process_group(backend, store=store, rank=own, world_size=P, timeout=_PATIENCE)


def _take_device(number: int) -> None:
    if number >= torch.cuda.device_count():
        raise UsageError(
            f"--nproc-per-node should be at most the number of CUDA devices, {torch.cuda.device_count()}, or device cpu, "
            f"got process {number} on this machine"
        )
    torch.cuda.set_device(number)


def check_parts(batch_size: int, accumulate: int, processes: int = 1) -> None:
    """UsageError unless a batch divides into equal shares of equal parts."""
    if batch_size % (processes * accumulate):
        among = f"{processes} processes times " if processes > 1 else ""
        raise UsageError(
            f"batch_size should be a multiple of {among}accumulate {accumulate}, so that all parts are equal, got {batch_size}"
        )


def parts(batch_size: int, accumulate: int) -> list[slice]:
    """The equal parts of a batch that this process computes, as slices; UsageError if the batch does not divide."""
    check_parts(batch_size, accumulate, count())
    size = batch_size // (count() * accumulate)
    first = rank() * accumulate
    return [slice(number * size, (number + 1) * size) for number in range(first, first + accumulate)]


def distributed(model: nn.Module) -> nn.Module:
    """Wrap a model so that gradients are averaged over all processes. All start with the weights of the first process.

    BatchNorm normalises each part separately and keeps the statistics of the first process.
    """
    if count() == 1:
        return model
    device = next(model.parameters()).device
    return DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)


def without_sync(model: nn.Module) -> AbstractContextManager[Any]:
    """While the context is open, gradients of a `distributed` model accumulate in each process and are not averaged."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()


def summed(tensor: Tensor) -> Tensor:
    """The sum over all processes."""
    if count() == 1:
        return tensor
    total = tensor.clone()
    dist.all_reduce(total)
    return total


def mean(number: float) -> float:
    """The mean over all processes."""
    return summed(torch.tensor(number, dtype=torch.float64)).item() / count()


def highest(number: int) -> int:
    """The largest number of all processes."""
    if count() == 1:
        return number
    largest = torch.tensor(number)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return int(largest)


def gathered(tensor: Tensor) -> list[Tensor]:
    """The tensors of all processes, in order of rank; all must have the same shape."""
    if count() == 1:
        return [tensor]
    own = tensor.contiguous()
    made = [torch.empty_like(own) for _ in range(count())]
    dist.all_gather(made, own)
    return made


def take_from_first(tensor: Tensor) -> None:
    """Overwrite the tensor with that of the first process."""
    if count() > 1:
        dist.broadcast(tensor, 0)


def wait_for_all() -> None:
    """Return when all processes have called this. It uses a sum, since a barrier of NCCL would occupy a device."""
    summed(torch.zeros(1))


@contextmanager
def first_before_others() -> Iterator[None]:
    """The first process runs the context before the others enter it."""
    if not is_first():
        wait_for_all()
    yield
    if is_first():
        wait_for_all()
