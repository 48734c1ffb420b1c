"""The state that a trainer commits: its shape, and the weights of the best model in it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["is_state", "names_its_run", "same_weights", "with_best_weights"]


def is_state(trainer: Mapping[str, Any]) -> bool:
    """Whether a state has step, model and best, as `Run.commit` requires."""
    match trainer:
        case {"step": int(), "model": weights, "best": None}:
            return _are_weights(weights)
        case {"step": int(last), "model": weights, "best": {"step": int(step), "score": int() | float(), **rest}}:
            return _are_weights(weights) and (_are_weights(rest["model"]) if "model" in rest else step == last)
    return False


def names_its_run(state: Mapping[str, Any]) -> bool:
    """Whether a stored state says which run it belongs to."""
    match state["run"]:
        case {"config_sha256": str(), "metrics": str()}:
            return True
    return False


def _are_weights(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items()
    )


def same_weights(best: Mapping[str, Any], weights: Mapping[str, Tensor]) -> bool:
    """Whether the weights of the best model are these. Without weights of its own they are."""
    own = best.get("model")
    return own is None or (
        own.keys() == weights.keys() and all(torch.equal(own[name], tensor) for name, tensor in weights.items())
    )


def with_best_weights(state: dict[str, Any]) -> dict[str, Any]:
    """The state including the weights of the best model: copies of the last weights if it has none of its own."""
    best = state["best"]
    if best is None or "model" in best:
        return state
    weights = {name: tensor.detach().clone() for name, tensor in state["model"].items()}
    return {**state, "best": {**best, "model": weights}}
