"""The reference: the generated tensors in deep copies of the target, one sample at a time, in float64.

In training, F.batch_norm takes the statistics of all samples. So the samples run side by side, one thread each, and wait for
one another at each F.batch_norm.
"""

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

import hypernetworks as hn


def tensors(result: Any) -> list[Tensor]:
    """The tensors that a target returns."""
    return [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]


class OfAllSamples(TorchFunctionMode):
    """Within it, F.batch_norm in training takes the statistics of the activations of all threads."""

    def __init__(self, number: int, barrier: Barrier, inputs: list[Tensor | None]) -> None:
        super().__init__()
        self.number, self.barrier, self.inputs = number, barrier, inputs

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.batch_norm:
            return self.batch_norm(*args, **kwargs)
        return func(*args, **kwargs)

    def batch_norm(self, input, running_mean, running_var, weight=None, bias=None, training=False, *args, **kwargs):
        if not training or running_mean is None:  # without running statistics: of standardised kernels
            return F.batch_norm(input, running_mean, running_var, weight, bias, training, *args, **kwargs)
        self.inputs[self.number] = input
        self.barrier.wait()
        together = torch.cat([x for x in self.inputs if x is not None])
        self.barrier.wait()
        y = F.batch_norm(together, running_mean, running_var, None, None, True, *args, **kwargs)
        y = y[self.number * len(input) : (self.number + 1) * len(input)]
        column = (1, -1) + (1,) * (y.dim() - 2)
        return y * weight.view(column) + bias.view(column)


def in_copies(
    net: hn.HyperNetwork, batches: Sequence[dict[str, Any]], conditions: Sequence[Tensor]
) -> tuple[list[list[Tensor]], nn.Module]:
    """The outputs for each batch with the weights of its condition, and the copy that ran the first.

    Gradients reach the parameters of `net`.
    """
    copies = [copy.deepcopy(net.target) for _ in batches]
    own = dict(net.target.named_parameters())

    def run(n: int) -> list[Tensor]:
        made = {**own, **net.generate(conditions[n])}
        return tensors(functional_call(copies[n], made, (), dict(batches[n])))

    normalised = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in net.target.modules())
    if len(batches) == 1 or not (net.training and normalised):
        return [run(n) for n in range(len(batches))], copies[0]
    return side_by_side(run, len(batches)), copies[0]


def side_by_side(run: Callable[[int], list[Tensor]], samples: int) -> list[list[Tensor]]:
    """Run each sample in a thread."""
    barrier, inputs = Barrier(samples, timeout=60), [None] * samples

    def one(n: int) -> list[Tensor]:
        try:
            with OfAllSamples(n, barrier, inputs):
                return run(n)
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(samples) as pool:
        return list(pool.map(one, range(samples)))
