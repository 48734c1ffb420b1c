"""A character model's network one step at a time, with a choice of how its big matrices are stored."""

from typing import Literal

from torch import Tensor

from hypernetworks.errors import UsageError
from hypernetworks.recurrent.stepper import Stepper
from hypernetworks.text.model import CharacterModel

Weights = Literal["float32", "bfloat16", "int8"]


def stepper(model: CharacterModel, batch: int, weights: Weights = "float32") -> Stepper:
    """Make a stepper of the model's network.

    weights: how the big matrices are stored. float32 leaves a model in the dtype that it has.

    Raises:
        UsageError: bfloat16 or int8, and the native path does not serve the network on its device.
    """
    try:
        return model.network.stepper(batch, None if weights == "float32" else weights)
    except ValueError as error:
        raise UsageError(str(error)) from error


def read_step(model: CharacterModel, step: Stepper, ids: Tensor) -> Tensor:
    """Take one step with the characters (B,), and return what the head reads, (B, R)."""
    x = model.embedding(ids.unsqueeze(0))[0]
    h = step(x)
    if not model.config.skips:
        return h
    return model.head_reads(x, model.network.cell(0).state_tensors(step.state)[0].unbind(0))
