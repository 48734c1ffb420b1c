"""The character model: embedding → recurrent network → head.

    x_t      = embedding of character t, or its one-hot vector
    h_t, s_t = network(x_t, s_{t-1})
    logits   = W h_t + b                                the next character's log-probabilities, up to a constant

T time, B batch, V symbols, E embedding, H hidden.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hypernetworks.errors import UsageError
from hypernetworks.recurrent import LSTM, RHN, HyperGRU, HyperLSTM, HyperRHN, HyperRNN
from hypernetworks.recurrent.layer import RecurrentNetwork

Network = Literal[
    "lstm",
    "layer-norm-lstm",
    "rhn",
    "hyper-lstm",
    "hyper-lstm-without-norm",
    "hyper-gru",
    "hyper-rnn",
    "hyper-rnn-full",
    "hyper-rhn",
]

NETWORKS: Final[tuple[Network, ...]] = get_args(Network)


@dataclass(frozen=True)
class ModelConfig:
    """What a character model is made of. Contradictory or impossible settings fail when made, with a UsageError."""

    network: Network = "hyper-lstm"
    """Which recurrent network. The hyper networks are layer-normalised unless the name says otherwise."""
    hidden_size: int = 256
    """H, the width of the network."""
    num_layers: int = 1
    """Recurrent layers."""
    embedding_size: int = 64
    """E, the width of a character's embedding; 0 gives the network one-hot vectors, as in the paper."""
    tie_weights: bool = False
    """Use the embedding's matrix for the head too; embedding_size must equal hidden_size."""
    dropout: float = 0.0
    """Probability of dropping a value of the network's input, between its layers, and of its output, while training."""
    recurrent_dropout: float = 0.0
    """Probability of dropping a candidate value within the network, fresh for each step, while training."""
    hyper_size: int = 64
    """K, the width of the hyper cell (hyper networks)."""
    hyper_embedding_size: int = 16
    """Z, the width of each embedding z (hyper networks)."""
    depth: int = 3
    """Highway layers within a step (rhn, hyper-rhn)."""

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise UsageError(f"network should be one of {', '.join(NETWORKS)}, got {self.network!r}")
        for name in ("hidden_size", "num_layers", "hyper_size", "hyper_embedding_size", "depth"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} should be at least 1, got {getattr(self, name)}")
        if self.embedding_size < 0:
            raise UsageError(f"embedding_size should be at least 0 (0: one-hot), got {self.embedding_size}")
        for name in ("dropout", "recurrent_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} should lie in [0, 1), got {getattr(self, name)}")
        if self.tie_weights and self.embedding_size != self.hidden_size:
            raise UsageError(
                "tie_weights needs embedding_size and hidden_size to be equal, "
                f"got embedding_size {self.embedding_size} and hidden_size {self.hidden_size}"
            )


def make_network(config: ModelConfig, input_size: int) -> RecurrentNetwork:
    """The recurrent network of a config, reading `input_size` numbers a step; PyTorch's default device and dtype."""
    between = config.dropout if config.num_layers > 1 else 0.0
    plain: dict[str, Any] = {"dropout": between, "recurrent_dropout": config.recurrent_dropout}
    hyper = plain | {"hyper_size": config.hyper_size, "hyper_embedding_size": config.hyper_embedding_size}
    makers: dict[Network, Callable[..., RecurrentNetwork]] = {
        "lstm": lambda *sizes: LSTM(*sizes, **plain),
        "layer-norm-lstm": lambda *sizes: LSTM(*sizes, **plain, layer_norm=True),
        "rhn": lambda *sizes: RHN(*sizes, **plain, depth=config.depth),
        "hyper-lstm": lambda *sizes: HyperLSTM(*sizes, **hyper),
        "hyper-lstm-without-norm": lambda *sizes: HyperLSTM(*sizes, **hyper, layer_norm=False),
        "hyper-gru": lambda *sizes: HyperGRU(*sizes, **hyper),
        "hyper-rnn": lambda *sizes: HyperRNN(*sizes, **hyper),
        "hyper-rnn-full": lambda *sizes: HyperRNN(*sizes, **hyper, generation="full"),
        "hyper-rhn": lambda *sizes: HyperRHN(*sizes, **hyper, depth=config.depth),
    }
    return makers[config.network](input_size, config.hidden_size, config.num_layers)


class OneHot(nn.Module):
    """x_t as a vector of zeros with a 1 at the place of the character: (T, B) -> (T, B, V)."""

    vectors: Tensor

    def __init__(self, symbols: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.eye(symbols), persistent=False)  # follows the model's device and dtype

    def forward(self, ids: Tensor) -> Tensor:
        """The rows of the identity."""
        return F.embedding(ids, self.vectors)


class CharacterModel(nn.Module):
    """Predicts the next character from all before it, `logits, state = model(ids, state)`.

    Args:
        config: what it is made of.
        symbols: V, the size of the alphabet.
    """

    def __init__(self, config: ModelConfig, symbols: int) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(symbols, config.embedding_size) if config.embedding_size else OneHot(symbols)
        self.network = make_network(config, config.embedding_size or symbols)
        self.head = nn.Linear(config.hidden_size, symbols)
        nn.init.zeros_(self.head.bias)
        if isinstance(self.embedding, nn.Embedding):
            nn.init.normal_(self.embedding.weight, std=config.embedding_size**-0.5)  # |x_t| near 1, as of a one-hot
            if config.tie_weights:
                self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Ids (T, B), int64, and the network's state -> logits of the next character (T, B, V), the state after them."""
        h, state = self.read(ids, state)
        return self.head(F.dropout(h, self.config.dropout, self.training)), state

    def read(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """The same up to the head: h (T, B, H), and the state."""
        x = F.dropout(self.embedding(ids), self.config.dropout, self.training)
        return self.network(x, state)


def count_parameters(config: ModelConfig, symbols: int) -> int:
    """How many parameters a model has, each counted once; nothing is allocated.

    Raises:
        UsageError: the sizes are such that no tensor can be so large.
    """
    try:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in CharacterModel(config, symbols).parameters())
    except (RuntimeError, TypeError) as error:
        raise UsageError(
            f"{config.network} with hidden_size {config.hidden_size:,} is larger than any tensor"
        ) from error


def flops_per_character(config: ModelConfig, symbols: int) -> int:
    """Floating-point operations of all matrix products of one character's forward pass, a multiply-add being two.

    Counted by PyTorch's own counter on the products that are really made; a training step costs three times as many.
    Looking up an embedding, and all that is done number by number, is not counted.
    """
    with torch.device("meta"):
        model = CharacterModel(config, symbols)
        counter = FlopCounterMode(display=False)
        with counter:
            model(torch.zeros(1, 1, dtype=torch.int64))
    return counter.get_total_flops()


def match_parameters(config: ModelConfig, symbols: int, parameters: int, tolerance: float = 0.01) -> ModelConfig:
    """The config with the hidden_size that brings its model nearest to a number of parameters.

    Raises:
        UsageError: no hidden_size comes within `tolerance` (relative) of it.
    """

    def sized(hidden: int) -> ModelConfig:
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
