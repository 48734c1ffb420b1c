"""Weights in from other implementations, and out to them."""

from .labml import hyper_lstm_from_labml, lstm_from_labml, rhn_from_labml
from .peft import load_peft, save_peft
from .supercell import hyper_lstm_from_supercell, lstm_from_supercell
from .torch_rnn import (
    gru_from_torch,
    gru_to_torch,
    lstm_from_torch,
    lstm_to_torch,
    rnn_from_torch,
    rnn_to_torch,
)

__all__ = [
    "gru_from_torch",
    "gru_to_torch",
    "hyper_lstm_from_labml",
    "hyper_lstm_from_supercell",
    "load_peft",
    "lstm_from_labml",
    "lstm_from_supercell",
    "lstm_from_torch",
    "lstm_to_torch",
    "rhn_from_labml",
    "rnn_from_torch",
    "rnn_to_torch",
    "save_peft",
]
