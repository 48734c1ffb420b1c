"""Weights as flat dictionaries of arrays, to and from the torch networks.

The names are those of the network's state_dict, so such a dictionary can also be kept by numpy.savez or safetensors.numpy.
"""

from collections.abc import Mapping
from typing import TypeAlias

import jax  # pyright: ignore[reportMissingImports]
import jax.numpy as jnp  # pyright: ignore[reportMissingImports]
import numpy as np
import torch
from torch import nn

Weights: TypeAlias = Mapping[str, jax.Array]
"""The weights of a network or a layer by name."""


def from_torch(module: nn.Module) -> dict[str, jax.Array]:
    """The weights of an LSTM, GRU or HyperLSTM, or of a cell of these, by their names in its state_dict.

    A network's names start with `cells.0.`, `cells.1.`, …: one cell for each layer, or for each layer and direction. The arrays
    are copies with the dtypes of the parameters.

    Raises:
        ValueError: a weight is float64, and JAX is not set to 64 bits.

    Example:
        >>> from hypernetworks import jax as hj
        >>> hj.from_torch(hn.LSTM(10, 20))["cells.0.weight_x"].shape
        (80, 10)
    """
    return {name: _array(name, tensor) for name, tensor in module.state_dict().items()}


def _array(name: str, tensor: torch.Tensor) -> jax.Array:
    if tensor.dtype == torch.float64 and not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        raise ValueError(
            f"{name} is float64, which JAX would round to float32: call jax.config.update('jax_enable_x64', True) first"
        )
    # numpy has no bfloat16; float32 holds each of its values
    array = tensor.detach().cpu().float() if tensor.dtype == torch.bfloat16 else tensor.detach().cpu()
    return jnp.array(array.numpy(), dtype=str(tensor.dtype).removeprefix("torch."))


def to_torch(weights: Weights, module: nn.Module) -> None:
    """Copy weights into a torch network or cell: the reverse of `from_torch`.

    Raises:
        ValueError: names or shapes are not those of the module's state_dict. The module is unchanged.

    Example:
        >>> from hypernetworks import jax as hj
        >>> rnn, other = hn.GRU(10, 20), hn.GRU(10, 20)
        >>> hj.to_torch(hj.from_torch(rnn), other)
        >>> torch.equal(rnn.cell(0).weight_h, other.cell(0).weight_h)
        True
    """
    own = module.state_dict()
    if weights.keys() != own.keys():
        wrong = sorted(weights.keys() ^ own.keys())
        raise ValueError(f"the weights should have the names of the module's state_dict; only one of both has {wrong}")
    for name, array in weights.items():
        if array.shape != tuple(own[name].shape):
            raise ValueError(f"{name}: got shape {array.shape}, expected {tuple(own[name].shape)}")
    with torch.no_grad():
        for name, array in weights.items():
            # numpy's bfloat16 is JAX's own type, which torch does not read
            numbers = np.array(array.astype(jnp.float32) if array.dtype == jnp.bfloat16 else array)
            own[name].copy_(torch.from_numpy(numbers))


def layer(weights: Weights, k: int) -> dict[str, jax.Array]:
    """The weights of a network's cell k, named as in the cell. With two directions, layer l has the cells 2l and 2l + 1.

    Raises:
        ValueError: there is no such cell.

    Example:
        >>> from hypernetworks import jax as hj
        >>> weights = hj.from_torch(hn.LSTM(10, 20, num_layers=2))
        >>> hj.layer(weights, 1)["weight_x"].shape
        (80, 20)
    """
    start = f"cells.{k}."
    found = {name.removeprefix(start): array for name, array in weights.items() if name.startswith(start)}
    if not found:
        raise ValueError(f"layer: the weights should have names that start with {start!r}, got {sorted(weights)}")
    return found
