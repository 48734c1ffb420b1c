"""torch.utils.checkpoint in a target: use_reentrant=False recomputes with the same generated weights; True is refused.

A reentrant checkpoint runs a backward pass of its own for each checkpointed segment. Each would run through the whole
generator, whose graph the first of them has already freed.

To notice that, every generated tensor needs a hook, which takes longer than a small target. So a call first counts the segments
that were kept while the target ran: without any, it needs no hooks.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from hypernetworks.torch_compat import in_function_transform, in_reentrant_checkpoint, reentrant_segments
from hypernetworks.weights.call import is_traced
from hypernetworks.weights.forms import Form


def kept_segments() -> int:
    """A number that changes if the target keeps segments of reentrant checkpoints."""
    return 0 if is_traced() else reentrant_segments()


def refuse_reentrant(weights: Iterable[Form | Tensor]) -> None:
    """Raise an error in the backward pass if it reaches these generated weights from within a reentrant checkpoint.

    A checkpoint around the whole network is no problem: it generates the weights when it recomputes.

    Raises:
        RuntimeError: in the backward pass.
    """
    if not torch.is_grad_enabled() or in_function_transform() or in_reentrant_checkpoint():
        return
    for weight in weights:
        for tensor in weight.tensors().values() if isinstance(weight, Form) else (weight,):
            if tensor.grad_fn is not None:
                tensor.grad_fn.register_prehook(_refuse)


def _refuse(*gradients: Any) -> None:
    if in_reentrant_checkpoint():
        raise RuntimeError(
            "torch.utils.checkpoint with use_reentrant=True within the target cannot be used with generated weights: "
            "use use_reentrant=False (in transformers: gradient_checkpointing_enable({'use_reentrant': False}))"
        )
