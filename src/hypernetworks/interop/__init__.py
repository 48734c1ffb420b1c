"""Weights in from other implementations, and out to them."""

from .labml import hyper_lstm_from_labml, lstm_from_labml, rhn_from_labml
from .supercell import hyper_lstm_from_supercell, lstm_from_supercell
from .torch_lstm import lstm_from_torch, lstm_to_torch

__all__ = [
    "hyper_lstm_from_labml",
    "hyper_lstm_from_supercell",
    "lstm_from_labml",
    "lstm_from_supercell",
    "lstm_from_torch",
    "lstm_to_torch",
    "rhn_from_labml",
]
