"""Several processes that train one model together: which one this is, and what they tell each other.

torchrun starts them, and names each by RANK, WORLD_SIZE and LOCAL_RANK. A process that it did not start is alone, and all that
is told here is then its own. Only tensors are told, through gloo, or NCCL where they are on CUDA: nothing is unpickled.

A step's batch is dealt out in equal shares to P processes, each share worked in A equal parts, one after another:

    loss = 1/P Σ_processes 1/A Σ_parts (mean over the part's places) = mean over the batch's places
"""

import os
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
"""How long a process waits at the start until all are there."""

_PATIENCE: Final = timedelta(days=1)
"""How long a process waits for another: one scores a long text while the others wait. torchrun sees to those that died."""


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def count() -> int:
    """P, how many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this is the process that writes and prints."""
    return rank() == 0


def tell(*lines: str) -> None:
    """Print lines once, however many processes there are."""
    if is_first():
        print(*lines, sep="\n")


def name_of_process() -> str:
    """What the errors of this process begin with: nothing for the first, which is the only one mostly."""
    started = _started("RANK", 0)
    return f"process {started} of {_started('WORLD_SIZE', 1)}: " if started else ""


def _started(name: str, alone: int) -> int:
    return int(os.environ.get(name, alone))


def was_restarted() -> bool:
    """Whether torchrun started this process in the place of one that died."""
    return _started("TORCHELASTIC_RESTART_COUNT", 0) > 0


@contextmanager
def together(device: str) -> Iterator[None]:
    """While this context is open, the processes that torchrun started are a group; a process alone stays as it is.

    Args:
        device: the name of the device to train on. Each process takes the CUDA device of its LOCAL_RANK, unless it is "cpu".

    Raises:
        UsageError: there are fewer CUDA devices here than processes.
        FaultError: another process has gone, or cannot be reached.
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
        raise FaultError(f"another process has gone or cannot be reached: {reason}") from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _join(backend: str) -> None:
    """Make the group of the processes of this start.

    torchrun keeps one store over its restarts, in which the addresses of processes that died still stand: whoever reads one
    waits for ever. So each start has its own part of the store, and all must have come before an address is read.
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
    """UsageError unless a batch can be dealt out in equal shares of equal parts."""
    if batch_size % (processes * accumulate):
        among = f"{processes} processes times " if processes > 1 else ""
        raise UsageError(
            f"batch_size should be a multiple of {among}accumulate {accumulate}, so that all parts are equal, got {batch_size}"
        )


def parts(batch_size: int, accumulate: int) -> list[slice]:
    """The places of a batch that this process works, in equal parts; UsageError where there are no equal ones."""
    check_parts(batch_size, accumulate, count())
    size = batch_size // (count() * accumulate)
    first = rank() * accumulate
    return [slice(number * size, (number + 1) * size) for number in range(first, first + accumulate)]


def distributed(model: nn.Module) -> nn.Module:
    """The model, its gradients made the mean over all processes; it begins with the weights of the first.

    BatchNorm normalises each part by itself, and keeps the first process's statistics.
    """
    if count() == 1:
        return model
    device = next(model.parameters()).device
    return DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)


def apart(model: nn.Module) -> AbstractContextManager[Any]:
    """While this context is open, gradients of a `distributed` model are added up in each process, and not told."""
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
    """The largest of all processes' numbers."""
    if count() == 1:
        return number
    told = torch.tensor(number)
    dist.all_reduce(told, dist.ReduceOp.MAX)
    return int(told)


def gathered(tensor: Tensor) -> list[Tensor]:
    """The tensors of all processes, in their order; all have the same shape."""
    if count() == 1:
        return [tensor]
    own = tensor.contiguous()
    made = [torch.empty_like(own) for _ in range(count())]
    dist.all_gather(made, own)
    return made


def take_from_first(tensor: Tensor) -> None:
    """Fill the tensor with what the first process has in it."""
    if count() > 1:
        dist.broadcast(tensor, 0)


def wait_for_all() -> None:
    """Return when all processes have come here. A sum is used for it: a barrier of NCCL would take a device."""
    summed(torch.zeros(1))


@contextmanager
def first_before_others() -> Iterator[None]:
    """The first process has gone through this context before the others enter it."""
    if not is_first():
        wait_for_all()
    yield
    if is_first():
        wait_for_all()
