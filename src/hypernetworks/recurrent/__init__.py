"""Recurrent networks: the plain ones, and those whose weights a smaller network makes at every time step."""

from hypernetworks import torch_compat

from .backend import use_backend
from .gru import GRU, GRUCell
from .hyper_gru import HyperGRU, HyperGRUCell, HyperGRUState
from .hyper_lstm import HyperLSTM, HyperLSTMCell, HyperLSTMState
from .hyper_rhn import HyperRHN, HyperRHNCell, HyperRHNState
from .hyper_rnn import HyperRNN, HyperRNNCell, HyperRNNState
from .lstm import LSTM, LSTMCell, LSTMState
from .rhn import RHN, RHNCell
from .rnn import RNN, RNNCell
from .stepper import Stepper

for _state in (LSTMState, HyperLSTMState, HyperGRUState, HyperRNNState, HyperRHNState):
    torch_compat.name_in_programs(_state)

__all__ = [
    "GRU",
    "LSTM",
    "RHN",
    "RNN",
    "GRUCell",
    "HyperGRU",
    "HyperGRUCell",
    "HyperGRUState",
    "HyperLSTM",
    "HyperLSTMCell",
    "HyperLSTMState",
    "HyperRHN",
    "HyperRHNCell",
    "HyperRHNState",
    "HyperRNN",
    "HyperRNNCell",
    "HyperRNNState",
    "LSTMCell",
    "LSTMState",
    "RHNCell",
    "RNNCell",
    "Stepper",
    "use_backend",
]
