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
from torch.func import functional_call, vmap
from torch.overrides import TorchFunctionMode

from hypernetworks.recurrent.layer import RecurrentNetwork
from hypernetworks.torch_compat import TreeSpec, packs_a_sequence, tree_flatten, tree_unflatten
from hypernetworks.weights.layout import Layout
from hypernetworks.weights.recurrence import RECURRENCES

PACKED = "packed input cannot have weights for each sample: pad it"


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
            raise ValueError(PACKED)
        if func in RECURRENCES:
            return RECURRENCES[func](*args, **kwargs)
        return func(*args, **kwargs)


def run_vmapped(
    target: nn.Module,
    weights: Mapping[str, Tensor],
    shared: Mapping[str, Tensor],
    leaves: Sequence[Any],
    form: TreeSpec,
    places: Sequence[Layout | None],
    returned: Callable[[int], Layout],
) -> Any:
    """Run the target on the arguments with weights (B, ...), each sample as a batch of one or of `each` rows.

    Args:
        target: the module.
        weights: the tensors of each sample, by name.
        shared: tensors that are the same for all samples, by name: buffers among them.
        leaves, form: the arguments as `tree_flatten` gives them.
        places: where the samples are in each leaf; None for what is shared, and for no tensors.
        returned: where they go in the k-th returned tensor.
    """
    samples = len(next(iter(weights.values())))
    own_dims = dict.fromkeys(weights, 0)
    dims = [None if place is None else place.place for place in places]
    given = [leaf if place is None else place.apart(leaf) for leaf, place in zip(leaves, places, strict=True)]
    made: list[Any] = []

    def one(own: dict[str, Tensor], *parts: Any) -> tuple[Any, ...]:
        parts = tuple(
            part.unsqueeze(place.dim) if place is not None and place.each == 1 else part
            for part, place in zip(parts, places, strict=True)
        )
        own_args, own_kwargs = tree_unflatten(parts, form)
        result = functional_call(target, own | dict(shared), own_args, own_kwargs)
        found, result_form = tree_flatten(result)
        tensors = [part for part in found if isinstance(part, Tensor)]
        made[:] = [result_form, *(None if isinstance(part, Tensor) else (part,) for part in found)]
        return tuple(returned(k).alone(part) for k, part in enumerate(tensors))

    with PerSample(samples):
        outputs = vmap(one, in_dims=(own_dims, *dims), randomness="different")(dict(weights), *given)
    tensors = iter([returned(k).gathered(part) for k, part in enumerate(outputs)])
    result_form, *others = made
    return tree_unflatten([next(tensors) if other is None else other[0] for other in others], result_form)
