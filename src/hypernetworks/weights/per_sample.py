"""One set of weights for each sample: y_n = f(x_n; W_n), all samples in one call.

torch.func.vmap runs the target over samples and weights together, each sample as a batch of one. What that would change is
replaced while it runs, by a mode of torch's functions; the target itself is not touched:

    F.batch_norm        statistics are those of the whole batch, all samples together, and running ones are updated once
    lstm, gru, rnn      torch's own have no rule for vmap: the steps of `recurrent` are run one after the other

B batch, T time, H hidden.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.utils.rnn import PackedSequence
from torch.overrides import TorchFunctionMode

from ..recurrent.layer import RecurrentNetwork
from ..torch_compat import packs_a_sequence, tree_flatten, tree_unflatten
from .recurrence import RECURRENCES

_PACKED = "packed input cannot have weights for each sample: pad it"


@torch.library.custom_op("hypernetworks::mean_over_samples", mutates_args=())
def mean_over_samples(x: Tensor) -> Tensor:
    """The mean over all samples of the vmap that runs, the same for each; x itself outside of one."""
    return x.clone()


@mean_over_samples.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


@mean_over_samples.register_vmap
def _(info: Any, in_dims: tuple[int | None, ...], x: Tensor) -> tuple[Tensor, None]:
    dim = in_dims[0]
    return (mean_over_samples(x) if dim is None else x.mean(dim)), None


mean_over_samples.register_autograd(lambda context, gradient: gradient)


def batch_norm(
    samples: int,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """F.batch_norm for one of `samples` samples under vmap: y = γ ⊙ (x − E[x]) / sqrt(Var[x] + ε) + β, over all samples.

    γ and β may be the sample's own. Errors: ValueError for a single value per channel, as in F.batch_norm.
    """
    x = input if input.dtype == torch.float64 else input.float()
    dims = [0, *range(2, x.dim())]
    column = (1, -1) + (1,) * (x.dim() - 2)
    if training or running_mean is None or running_var is None:
        count = samples * x.numel() // x.shape[1]
        if count == 1:
            raise ValueError(f"Expected more than 1 value per channel when training, got {samples} sample of {x.shape}")
        # E[x] and Var[x] over samples and space
        mean = mean_over_samples(x.mean(dims))
        var = mean_over_samples((x - mean.view(column)).square().mean(dims))
        if running_mean is not None and running_var is not None:
            with torch.no_grad():
                running_mean.lerp_(mean.detach().to(running_mean.dtype), momentum)
                running_var.lerp_((var.detach() * count / (count - 1)).to(running_var.dtype), momentum)
    else:
        mean, var = running_mean, running_var
    # y = γ ⊙ (x − E[x]) / sqrt(Var[x] + ε) + β
    y = (x - mean.view(column)) * torch.rsqrt(var + eps).view(column)
    if weight is not None:
        y = y * weight.view(column)
    if bias is not None:
        y = y + bias.view(column)
    return y.to(input.dtype)


class PerSample(TorchFunctionMode):
    """While it is on, torch's functions that vmap has no right answer for act on `samples` samples as they should."""

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.samples = samples

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the replacement, or what was called."""
        kwargs = kwargs or {}
        if func is F.batch_norm:
            return batch_norm(self.samples, *args, **kwargs)
        if packs_a_sequence(func):
            raise ValueError(_PACKED)
        if func in RECURRENCES:
            return RECURRENCES[func](*args, **kwargs)
        return func(*args, **kwargs)


def run_per_sample(
    target: nn.Module,
    weights: Mapping[str, Tensor],
    buffers: Mapping[str, Tensor],
    samples: int,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Any:
    """target(*args, **kwargs) with weights (B, ...), or without B where all samples share one.

    Every tensor given and answered has the B samples in its batch dimension.
    Errors: ValueError for a tensor whose batch is not `samples`, for a call without any tensor, and for packed sequences.
    """
    if any(isinstance(given, PackedSequence) for given in (*args, *kwargs.values())):
        raise ValueError(_PACKED)
    inputs, outputs = _batch_dimensions(target)
    leaves, form = tree_flatten((tuple(args), dict(kwargs)))
    dims = _input_dimensions(leaves, inputs, samples)
    # a generator that takes no condition, beside one that does, makes one tensor for all samples
    ranks = {name: parameter.dim() for name, parameter in target.named_parameters()}
    own_dims = {name: 0 if tensor.dim() > ranks[name] else None for name, tensor in weights.items()}
    made: list[Any] = []

    def one(own: dict[str, Tensor], *given: Any) -> tuple[Any, ...]:
        given = tuple(each if dim is None else each.unsqueeze(dim) for each, dim in zip(given, dims, strict=True))
        own_args, own_kwargs = tree_unflatten(given, form)
        answer = functional_call(target, own | dict(buffers), own_args, own_kwargs)
        parts, answer_form = tree_flatten(answer)
        tensors = [part for part in parts if isinstance(part, Tensor)]
        made[:] = [answer_form, *(None if isinstance(part, Tensor) else (part,) for part in parts)]
        return tuple(part.squeeze(outputs(k)) for k, part in enumerate(tensors))

    with PerSample(samples):
        parts = vmap(one, in_dims=(own_dims, *dims), randomness="different")(dict(weights), *leaves)
    tensors = iter([part.movedim(0, outputs(k)) for k, part in enumerate(parts)])
    answer_form, *others = made
    return tree_unflatten([next(tensors) if other is None else other[0] for other in others], answer_form)


def _input_dimensions(leaves: Sequence[Any], batch: Callable[[int], int], samples: int) -> list[int | None]:
    """The batch dimension of every tensor given, None for what is no tensor."""
    dims: list[int | None] = []
    tensors = 0
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            dims.append(None)
            continue
        dim = batch(tensors)
        tensors += 1
        if leaf.dim() <= dim or leaf.shape[dim] != samples:
            shape = tuple(leaf.shape)
            raise ValueError(
                f"condition has {samples} samples, but an input has shape {shape}, with the batch in dimension {dim}"
            )
        dims.append(dim)
    if not tensors:
        raise ValueError("a condition for each sample needs an input tensor with as many samples, got none")
    return dims


def _batch_dimensions(target: nn.Module) -> tuple[Callable[[int], int], Callable[[int], int]]:
    """The batch dimension of the k-th tensor given and of the k-th answered: 0, but in a bare recurrent network."""
    if not isinstance(target, nn.RNNBase | RecurrentNetwork):
        return (lambda k: 0), (lambda k: 0)
    first = 0 if target.batch_first else 1

    def batch(k: int) -> int:
        return first if k == 0 else 1  # sequences, then states (layers · directions, B, H)

    return batch, batch
