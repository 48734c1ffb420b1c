"""The recurrent network of an experiment: its settings, and the network that they describe."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from hypernetworks.errors import UsageError
from hypernetworks.recurrent.families import FAMILIES
from hypernetworks.recurrent.layer import RecurrentNetwork

__all__ = ["Init", "NetworkConfig", "NetworkName", "make_network", "settings_of"]

if TYPE_CHECKING:
    NetworkName = str
else:
    NetworkName = Literal[tuple(FAMILIES)]  # the command line lists these choices

Init = Literal["default", "paper"]


@dataclass(frozen=True)
class NetworkConfig:
    """The settings of a recurrent network. An experiment adds those of its own model.

    Raises:
        UsageError: a setting is invalid.
    """

    network: NetworkName = "hyper-lstm"
    """Which recurrent network."""
    hidden_size: int = 256
    """H, the width of the network."""
    num_layers: int = 1
    """Recurrent layers."""
    dropout: float = 0.0
    """Dropout probability between the layers, and of what the head reads."""
    recurrent_dropout: float = 0.0
    """Dropout probability of the candidate values inside the network, drawn for each time step (arXiv 1603.05118)."""
    hyper_size: int = 64
    """K, the width of the hyper cell (hyper networks)."""
    hyper_embedding_size: int = 16
    """Z, the width of each embedding z (hyper networks)."""
    init: Init = "default"
    """How the hyper cell is initialised: default, or paper for P = 0 as printed there, which leaves D at rank 1 (hyper
    networks)."""
    depth: int = 5
    """Highway layers within a time step (rhn, hyper-rhn)."""

    def __post_init__(self) -> None:
        if self.network not in FAMILIES:
            raise UsageError(f"network should be one of {', '.join(FAMILIES)}, got {self.network!r}")
        for name in ("hidden_size", "num_layers", "hyper_size", "hyper_embedding_size", "depth"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} should be at least 1, got {getattr(self, name)}")
        self.check_probabilities("dropout", "recurrent_dropout")
        self.check_choice("init", Init)

    def check_probabilities(self, *names: str) -> None:
        """UsageError unless the settings of these names are in [0, 1)."""
        for name in names:
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} should be in [0, 1), got {getattr(self, name)}")

    def check_choice(self, name: str, kind: Any) -> None:
        """UsageError unless the setting of this name is one of the values of a Literal."""
        if getattr(self, name) not in get_args(kind):
            raise UsageError(f"{name} should be {' or '.join(get_args(kind))}, got {getattr(self, name)!r}")

    def with_hidden_size(self, hidden_size: int) -> Self:
        """The same model with another width."""
        return replace(self, hidden_size=hidden_size)


def settings_of(network: str) -> tuple[str, ...]:
    """The settings that a network has and others do not."""
    family = FAMILIES[network]
    return (*family.takes, "init") if family.is_hyper else family.takes


def make_network(config: NetworkConfig, input_size: int, dropout: float) -> RecurrentNetwork[Any]:
    """Make the network of a configuration, on PyTorch's default device and dtype, with `dropout` between its layers."""
    return FAMILIES[config.network].make(
        input_size,
        config.hidden_size,
        config.num_layers,
        dropout=dropout if config.num_layers > 1 else 0.0,
        recurrent_dropout=config.recurrent_dropout,
        **{name: getattr(config, name) for name in settings_of(config.network)},
    )
