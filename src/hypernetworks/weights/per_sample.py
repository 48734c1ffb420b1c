"""One set of weights per sample: y_n = f(x_n; W_n), for all samples in one call.

torch.func.vmap runs the target over samples and weights together, each sample as a batch of one. A mode of torch's functions
replaces those that would give other results that way. The target itself is not changed:

    F.batch_norm        statistics are those of all samples together, and running statistics are updated once
    lstm, gru, rnn      torch's own have no rule for vmap: the steps of `recurrent` are run one after another

B batch, T time, H hidden.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import vmap
from torch.nn.utils.rnn import PackedSequence
from torch.overrides import TorchFunctionMode

from hypernetworks.recurrent.layer import RecurrentNetwork
from hypernetworks.torch_compat import packs_a_sequence, tree_flatten, tree_unflatten
from hypernetworks.weights.recurrence import RECURRENCES

_PACKED = "packed input cannot have weights for each sample: pad it"


@torch.library.custom_op("hypernetworks::mean_over_samples", mutates_args=())
def mean_over_samples(x: Tensor) -> Tensor:
    """The mean over all samples of the current vmap, equal for each; x itself outside vmap."""
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

    γ and β may differ between samples.

    Raises:
        ValueError: only one value per channel, as in F.batch_norm.
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
    """Within this mode, functions that vmap would handle wrongly act on `samples` samples together."""

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.samples = samples

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the replacement, if any."""
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
    call: Callable[[Mapping[str, Tensor], Sequence[Any], Mapping[str, Any]], Any],
    weights: Mapping[str, Tensor],
    samples: int,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Any:
    """Run target(*args, **kwargs) with weights (B, ...). A tensor without B is shared by all samples.

    `call(weights, args, kwargs)` runs the target with the weights of one sample.

    Every given and returned tensor has the B samples in its batch dimension.

    Raises:
        ValueError: the batch of a tensor is not `samples`, no tensor is given, or a sequence is packed.
    """
    if any(isinstance(given, PackedSequence) for given in (*args, *kwargs.values())):
        raise ValueError(_PACKED)
    inputs, outputs = _batch_dimensions(target)
    leaves, form = tree_flatten((tuple(args), dict(kwargs)))
    dims = _input_dimensions(leaves, inputs, samples)
    # a generator without condition, combined with one that has one, makes a single tensor for all samples
    ranks = {name: parameter.dim() for name, parameter in target.named_parameters()}
    own_dims = {name: 0 if tensor.dim() > ranks[name] else None for name, tensor in weights.items()}
    made: list[Any] = []

    def one(own: dict[str, Tensor], *given: Any) -> tuple[Any, ...]:
        given = tuple(each if dim is None else each.unsqueeze(dim) for each, dim in zip(given, dims, strict=True))
        own_args, own_kwargs = tree_unflatten(given, form)
        result = call(own, own_args, own_kwargs)
        parts, result_form = tree_flatten(result)
        tensors = [part for part in parts if isinstance(part, Tensor)]
        made[:] = [result_form, *(None if isinstance(part, Tensor) else (part,) for part in parts)]
        return tuple(part.squeeze(outputs(k)) for k, part in enumerate(tensors))

    with PerSample(samples):
        parts = vmap(one, in_dims=(own_dims, *dims), randomness="different")(dict(weights), *leaves)
    tensors = iter([part.movedim(0, outputs(k)) for k, part in enumerate(parts)])
    result_form, *others = made
    return tree_unflatten([next(tensors) if other is None else other[0] for other in others], result_form)


def _input_dimensions(leaves: Sequence[Any], batch: Callable[[int], int], samples: int) -> list[int | None]:
    """The batch dimension of every given tensor; None for anything else."""
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
    """The batch dimension of the k-th given and the k-th returned tensor: 0, except for a bare recurrent network."""
    if not isinstance(target, nn.RNNBase | RecurrentNetwork):
        return (lambda k: 0), (lambda k: 0)
    first = 0 if target.batch_first else 1

    def batch(k: int) -> int:
        return first if k == 0 else 1  # sequences, then states (layers · directions, B, H)

    return batch, batch
