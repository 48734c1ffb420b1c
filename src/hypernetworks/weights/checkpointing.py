"""torch.utils.checkpoint in a target: use_reentrant=False recomputes with the same generated weights; True is refused.

A reentrant checkpoint runs a backward pass of its own for each checkpointed segment. Each would run through the whole
generator, whose graph the first of them has already freed.
"""

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from hypernetworks.torch_compat import in_function_transform, in_reentrant_checkpoint


def refuse_reentrant(tensors: Iterable[Tensor]) -> None:
    """Raise an error in the backward pass if it reaches these generated tensors from within a reentrant checkpoint.

    A checkpoint around the whole network is no problem: it generates the weights when it recomputes.

    Raises:
        RuntimeError: in the backward pass.
    """
    if in_function_transform() or in_reentrant_checkpoint():
        return
    for tensor in tensors:
        if tensor.grad_fn is not None:
            tensor.grad_fn.register_prehook(_refuse)


def _refuse(*gradients: Any) -> None:
    if in_reentrant_checkpoint():
        raise RuntimeError(
            "torch.utils.checkpoint with use_reentrant=True within the target cannot be used with generated weights: "
            "use use_reentrant=False (in transformers: gradient_checkpointing_enable({'use_reentrant': False}))"
        )
