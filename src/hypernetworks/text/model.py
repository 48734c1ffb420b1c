"""The character model: embedding → recurrent network → head.

    x_t      = embedding of character t, or its one-hot vector
    h_t, s_t = network(x_t, s_{t-1})
    logits   = W h_t + b                                the next character's log-probabilities, up to a constant

T time, B batch, V symbols, E embedding, H hidden.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hypernetworks.errors import UsageError
from hypernetworks.recurrent.families import FAMILIES
from hypernetworks.recurrent.layer import RecurrentNetwork

__all__ = [
    "CharacterModel",
    "CharacterModelConfig",
    "NetworkName",
    "count_parameters",
    "flops_per_character",
    "make_network",
    "match_parameters",
]

if TYPE_CHECKING:
    NetworkName = str
else:
    NetworkName = Literal[tuple(FAMILIES)]  # the command line lists these choices


@dataclass(frozen=True)
class CharacterModelConfig:
    """The settings of a character model.

    Raises:
        UsageError: a setting is invalid, or two settings contradict each other.
    """

    network: NetworkName = "hyper-lstm"
    """Which recurrent network."""
    hidden_size: int = 256
    """H, the width of the network."""
    num_layers: int = 1
    """Recurrent layers."""
    embedding_size: int = 64
    """E, the width of a character's embedding; 0: one-hot vectors, as in the paper."""
    tie_weights: bool = False
    """Use the embedding matrix for the head as well; embedding_size must equal hidden_size."""
    dropout: float = 0.0
    """Dropout probability of the network's input, between its layers, and of its output."""
    recurrent_dropout: float = 0.0
    """Dropout probability of the candidate values inside the network, drawn for each time step."""
    hyper_size: int = 64
    """K, the width of the hyper cell (hyper networks)."""
    hyper_embedding_size: int = 16
    """Z, the width of each embedding z (hyper networks)."""
    depth: int = 5
    """Highway layers within a time step (rhn, hyper-rhn)."""

    def __post_init__(self) -> None:
        if self.network not in FAMILIES:
            raise UsageError(f"network should be one of {', '.join(FAMILIES)}, got {self.network!r}")
        for name in ("hidden_size", "num_layers", "hyper_size", "hyper_embedding_size", "depth"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} should be at least 1, got {getattr(self, name)}")
        if self.embedding_size < 0:
            raise UsageError(f"embedding_size should be at least 0 (0: one-hot), got {self.embedding_size}")
        for name in ("dropout", "recurrent_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} should be in [0, 1), got {getattr(self, name)}")
        if self.tie_weights and self.embedding_size != self.hidden_size:
            raise UsageError(
                "tie_weights requires embedding_size and hidden_size to be equal, "
                f"got embedding_size {self.embedding_size} and hidden_size {self.hidden_size}"
            )


def make_network(config: CharacterModelConfig, input_size: int) -> RecurrentNetwork:
    """Make the recurrent network of a character model, on PyTorch's default device and dtype."""
    family = FAMILIES[config.network]
    return family.make(
        input_size,
        config.hidden_size,
        config.num_layers,
        dropout=config.dropout if config.num_layers > 1 else 0.0,
        recurrent_dropout=config.recurrent_dropout,
        **{name: getattr(config, name) for name in family.takes},
    )


class OneHot(nn.Module):
    """One-hot vectors: ids (T, B) -> (T, B, V)."""

    vectors: Tensor

    def __init__(self, symbols: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.eye(symbols), persistent=False)  # follows the model's device and dtype

    def forward(self, ids: Tensor) -> Tensor:
        """Rows of the identity matrix."""
        return F.embedding(ids, self.vectors)


class CharacterModel(nn.Module):
    """Predicts the next character: `logits, state = model(ids, state)`.

    Args:
        config: the settings.
        symbols: V, the size of the alphabet.
    """

    def __init__(self, config: CharacterModelConfig, symbols: int) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(symbols, config.embedding_size) if config.embedding_size else OneHot(symbols)
        self.network = make_network(config, config.embedding_size or symbols)
        self.head = nn.Linear(config.hidden_size, symbols)
        nn.init.zeros_(self.head.bias)
        if isinstance(self.embedding, nn.Embedding):
            nn.init.normal_(
                self.embedding.weight, std=config.embedding_size**-0.5
            )  # |x_t| near 1, as for one-hot vectors
            if config.tie_weights:
                self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Predict the next character at each step.

        Args:
            ids: (T, B), int64.
            state: the network's state; None: zero.

        Returns:
            Logits (T, B, V), and the state after the last step.
        """
        h, state = self.read(ids, state)
        return self.head(F.dropout(h, self.config.dropout, self.training)), state

    def read(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run the model without its head: h (T, B, H), and the state."""
        x = F.dropout(self.embedding(ids), self.config.dropout, self.training)
        return self.network(x, state)


def count_parameters(config: CharacterModelConfig, symbols: int) -> int:
    """The number of parameters of a model, each counted once. Nothing is allocated.

    Raises:
        UsageError: a parameter would be larger than any tensor can be.
    """
    try:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in CharacterModel(config, symbols).parameters())
    except (RuntimeError, TypeError) as error:
        raise UsageError(
            f"{config.network} with hidden_size {config.hidden_size:,} is larger than any tensor"
        ) from error


def flops_per_character(config: CharacterModelConfig, symbols: int) -> int:
    """Floating-point operations of the matrix products in the forward pass of one character. A multiply-add counts as two.

    Counted by PyTorch's FlopCounterMode on the products that are made. A training step costs three times as much. Embedding
    lookups and elementwise operations are not counted.
    """
    with torch.device("meta"):
        model = CharacterModel(config, symbols)
        counter = FlopCounterMode(display=False)
        with counter:
            model(torch.zeros(1, 1, dtype=torch.int64))
    return counter.get_total_flops()


def match_parameters(
    config: CharacterModelConfig, symbols: int, parameters: int, tolerance: float = 0.01
) -> CharacterModelConfig:
    """Choose the hidden_size that brings a model closest to a number of parameters.

    Raises:
        UsageError: no hidden_size comes within `tolerance` (relative) of it.
    """

    def sized(hidden: int) -> CharacterModelConfig:
        return replace(
            config, hidden_size=hidden, embedding_size=hidden if config.tie_weights else config.embedding_size
        )

    low, high = 1, 2
    while count_parameters(sized(high), symbols) < parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if count_parameters(sized(middle), symbols) < parameters:
            low = middle
        else:
            high = middle
    best = min((sized(low), sized(high)), key=lambda made: abs(count_parameters(made, symbols) - parameters))
    count = count_parameters(best, symbols)
    if abs(count - parameters) > tolerance * parameters:
        raise UsageError(
            f"no {config.network} has within {tolerance:.0%} of {parameters:,} parameters: "
            f"the nearest, with hidden_size {best.hidden_size}, has {count:,}"
        )
    return best
