"""What other implementations printed: their weights, inputs, outputs and gradients, and the converters of their weights."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import nn

import hypernetworks as hn

GOLDEN = Path(__file__).parents[1] / "golden"

LABML: dict[str, Callable[..., nn.Module]] = {
    "labml_hyperlstm_1layer": hn.interop.hyper_lstm_from_labml,
    "labml_hyperlstm_2layer": hn.interop.hyper_lstm_from_labml,
    "labml_lstm_2layer": hn.interop.lstm_from_labml,
    "labml_lstm_cell_layernorm": hn.interop.lstm_from_labml,
    "labml_rhn_2layer_depth3": hn.interop.rhn_from_labml,
}


def load(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


def under(data: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(prefix): value for key, value in data.items() if key.startswith(prefix)}
