"""torch.autocast under torch.func.vmap: each function in the dtypes that it has without vmap.

vmap replaces a function by others before autocast sees it: a convolution by one that autocast does not know, which runs in
float32, and a product with a bias by a product and a sum, whose result is float32. So the arguments are cast here, as autocast
casts them, and the function runs without autocast.

    products, convolutions, attention     in the dtype of autocast
    cat, addcmul, ...                     in the widest dtype among the arguments
    others that autocast has a rule for   in float32

For which functions autocast has a rule depends on the device, and is what torch says. Source: "Automatic Mixed Precision
package" in the documentation of PyTorch, section "Autocast Op Reference".
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, reduce
from typing import Any

import torch
from torch import Tensor

from hypernetworks.torch_compat import autocast_rules, constant_in_graphs, tree_flatten, tree_unflatten

_LOWER = {
    *(
        "addbmm",
        "addmm",
        "addmv",
        "addr",
        "baddbmm",
        "bmm",
        "chain_matmul",
        "einsum",
        "linalg_multi_dot",
        "linalg_vecdot",
    ),
    *("linear", "matmul", "mm", "mv", "_addmm_activation", "prelu"),
    *("conv1d", "conv2d", "conv3d", "conv_tbc", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    *("convolution", "_convolution", "cudnn_convolution", "cudnn_convolution_transpose", "_mps_convolution"),
    *("scaled_dot_product_attention", "_scaled_dot_product_flash_attention", "_native_multi_head_attention"),
    *("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell", "_thnn_fused_lstm_cell", "_thnn_fused_gru_cell"),
    "mkldnn_rnn_layer",
}
"""The operators that run in the dtype of autocast, on devices where it has a rule for them."""

_WIDEST = {
    *("addcdiv", "addcmul", "atan2", "bilinear", "cat", "cross", "dot", "grid_sampler", "index_copy", "index_put"),
    *("scatter_add", "stack", "tensordot", "vdot"),
}
"""The operators that run in the widest dtype among their arguments, but for grid_sampler on the CPU: in float32."""

_NETWORKS = (torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu)
"""Functions without a rule of their own whose kernels autocast runs in its dtype. On the CPU, only that of lstm exists."""

_VECTORS = [getattr(owner, name) for owner in (torch, Tensor) for name in ("mv", "dot", "vdot", "addmv")]
"""Functions that vmap replaces by products, for which autocast has a rule where it may have none for these."""


def run_as_autocast(function: Callable[..., Any], args: Sequence[Any], kwargs: Any, call: Callable[..., Any]) -> Any:
    """call(*args, **kwargs), in place of a function of torch, with the dtypes of the function under autocast."""
    leaves, form = tree_flatten((tuple(args), kwargs))
    for device in {x.device.type for x in leaves if isinstance(x, Tensor)}:
        rule = rule_of(function, device) if autocasts(device) else None
        if rule is not None:
            dtype = _dtype(rule, device, leaves)
            cast = [x.to(dtype) if dtype is not None and _is_cast(x, device) else x for x in leaves]
            args, kwargs = tree_unflatten(cast, form)
            with torch.autocast(device, enabled=False):
                return run_as_autocast(function, args, kwargs, call)  # there may be tensors on another device
    return call(*args, **kwargs)


def autocasts(device: str) -> bool:
    """Whether autocast is on for this kind of device."""
    return _available(device) and torch.is_autocast_enabled(device)


@constant_in_graphs
def _available(device: str) -> bool:
    return torch.amp.is_autocast_available(device)


@constant_in_graphs
def rule_of(function: Any, device: str) -> str | None:
    """The dtype in which a function runs under autocast: "lower", "widest", "float32" or "given". None: there is no rule."""
    return _rules(device).get(function)


@lru_cache
def _rules(device: str) -> dict[Any, str]:
    """The rule for each function on this kind of device."""
    rules = {}
    for function, name in autocast_rules(device).items():
        widest = name in _WIDEST and (name, device) != ("grid_sampler", "cpu")
        rules[function] = "lower" if name in _LOWER else "widest" if widest else "float32"
    networks = _NETWORKS[:1] if device == "cpu" else _NETWORKS
    return dict.fromkeys(_VECTORS, "given") | rules | dict.fromkeys(networks, "lower")


def _dtype(rule: str, device: str, leaves: Sequence[Any]) -> torch.dtype | None:
    """The dtype to which the arguments are cast, or None."""
    if rule == "lower":
        return torch.get_autocast_dtype(device)
    if rule == "given":
        return None
    if rule == "float32":
        # softmax(x, dtype=...) keeps what it is given
        return None if any(isinstance(leaf, torch.dtype) for leaf in leaves) else torch.float32
    dtypes = [x.dtype for x in leaves if _is_cast(x, device)]
    return reduce(torch.promote_types, dtypes) if dtypes else None


def _is_cast(x: Any, device: str) -> bool:
    """Whether autocast casts an argument."""
    return isinstance(x, Tensor) and x.device.type == device and x.is_floating_point() and x.dtype is not torch.float64
