"""The recurrent networks by name: the one table that experiments, benchmarks, documentation and tests read.

To add a network, write its file and add one row here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .gru import GRU
from .hyper import HyperRecurrentNetwork
from .hyper_gru import HyperGRU
from .hyper_lstm import HyperLSTM
from .hyper_rhn import HyperRHN
from .hyper_rnn import HyperRNN
from .layer import RecurrentNetwork
from .lstm import LSTM
from .rhn import RHN
from .rnn import RNN


@dataclass(frozen=True)
class Family:
    """A recurrent network under the name that commands and tables use for it."""

    name: str
    """As on the command line: lower case, words separated by hyphens."""
    title: str
    """As in tables and plots."""
    network: type[Any]
    """The class."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The arguments that the name fixes, such as layer_norm=True."""
    takes: tuple[str, ...] = ()
    """Which of hyper_size, hyper_embedding_size and depth the network accepts."""

    @property
    def is_hyper(self) -> bool:
        """Whether a hyper cell generates the weights."""
        return issubclass(self.network, HyperRecurrentNetwork)

    def make(self, input_size: int, hidden_size: int, num_layers: int = 1, **settings: Any) -> RecurrentNetwork[Any]:
        """Make the network; `settings` are further arguments of its class.

        Raises:
            TypeError: for an argument that the class does not have or that the name already fixes.
        """
        return self.network(input_size, hidden_size, num_layers, **self.settings, **settings)


_HYPER = ("hyper_size", "hyper_embedding_size")


def _by_name(families: Sequence[Family]) -> Mapping[str, Family]:
    return {family.name: family for family in families}


FAMILIES: Mapping[str, Family] = _by_name(
    [
        Family("lstm", "LSTM", LSTM),
        Family("layer-norm-lstm", "layer-norm LSTM", LSTM, {"layer_norm": True}),
        Family("gru", "GRU", GRU),
        Family("layer-norm-gru", "layer-norm GRU", GRU, {"layer_norm": True}),
        Family("rnn", "RNN", RNN),
        Family("layer-norm-rnn", "layer-norm RNN", RNN, {"layer_norm": True}),
        Family("rhn", "RHN", RHN, takes=("depth",)),
        Family("hyper-lstm", "HyperLSTM", HyperLSTM, takes=_HYPER),
        Family("hyper-lstm-without-norm", "HyperLSTM without norm", HyperLSTM, {"layer_norm": False}, _HYPER),
        Family("hyper-gru", "HyperGRU", HyperGRU, takes=_HYPER),
        Family("hyper-rnn", "HyperRNN", HyperRNN, takes=_HYPER),
        Family("hyper-rnn-full", "HyperRNN, full", HyperRNN, {"generation": "full"}, _HYPER),
        Family("hyper-rhn", "HyperRHN", HyperRHN, takes=(*_HYPER, "depth")),
    ]
)
"""Every network by its name."""
