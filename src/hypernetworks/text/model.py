"""The character model: embedding → recurrent network → head.

    x_t      = embedding of character t, or its one-hot vector
    h_t, s_t = network(x_t, s_{t-1})
    logits   = W h_t + b                                the next character's log-probabilities, up to a constant

With skips, the head reads x_t and the h of every layer: logits = W [x_t; h_t^1; …; h_t^L] + b.

T time, B batch, V symbols, E embedding, H hidden, L layers, R what the head reads: H, or with skips E + L·H.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from hypernetworks.errors import UsageError
from hypernetworks.experiments.networks import NetworkConfig, make_network
from hypernetworks.recurrent.cell import RecurrentCell
from hypernetworks.recurrent.layer import RecurrentNetwork, call_cell
from hypernetworks.recurrent.sequence import TimeSteps
from hypernetworks.text.regularisation import MaskPer, dropped, masked_weights, zone_out

__all__ = ["CharacterModel", "CharacterModelConfig"]


@dataclass(frozen=True)
class CharacterModelConfig(NetworkConfig):
    """The settings of a character model.

    Example:
        >>> from hypernetworks.text import CharacterModelConfig
        >>> CharacterModelConfig(hidden_size=128).network
        'hyper-lstm'

    Raises:
        UsageError: a setting is invalid, or two settings contradict each other.
    """

    embedding_size: int = 64
    """E, the width of a character's embedding; 0: one-hot vectors, as in the paper."""
    tie_weights: bool = False
    """Use the embedding matrix for the head as well; embedding_size must equal hidden_size."""
    skips: bool = False
    """The head also reads the embedding and the output of every layer (Graves, arXiv 1308.0850)."""
    input_dropout: float = 0.0
    """Dropout probability of the network's input, the embedding."""
    dropout_per: MaskPer = "step"
    """When the masks of input_dropout and dropout are drawn: at each time step, or once for all time steps of a sequence, which
    is called variational dropout (Gal and Ghahramani, arXiv 1512.05287)."""
    state_dropout: float = 0.0
    """Dropout probability of h where the network reads it, drawn once for all time steps of a training step and shared by its
    streams (arXiv 1512.05287)."""
    weight_dropout: float = 0.0
    """Dropout probability of the recurrent weights, drawn once for each training step: DropConnect, as in AWD-LSTM
    (arXiv 1708.02182)."""
    zoneout: float = 0.0
    """Probability that a value of the state keeps its previous value in a time step (arXiv 1606.01305). There is no kernel for
    it: the network runs step by step, which takes several times as long."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.embedding_size < 0:
            raise UsageError(f"embedding_size should be at least 0 (0: one-hot), got {self.embedding_size}")
        self.check_probabilities("input_dropout", "state_dropout", "weight_dropout", "zoneout")
        self.check_choice("dropout_per", MaskPer)
        if self.tie_weights and self.skips:
            raise UsageError("tie_weights requires a head that reads h alone, got skips")
        if self.tie_weights and self.embedding_size != self.hidden_size:
            raise UsageError(
                "tie_weights requires embedding_size and hidden_size to be equal, "
                f"got embedding_size {self.embedding_size} and hidden_size {self.hidden_size}"
            )

    def with_hidden_size(self, hidden_size: int) -> Self:
        """The same model with another width. With tied weights, the embedding has it, too."""
        tied = {"embedding_size": hidden_size} if self.tie_weights else {}
        return replace(self, hidden_size=hidden_size, **tied)

    @property
    def layers_one_by_one(self) -> bool:
        """Whether the model itself passes values from layer to layer, instead of the network."""
        return self.num_layers > 1 and (self.skips or self.dropout_per == "sequence")


class OneHot(nn.Module):
    """One-hot vectors: ids (T, B) -> (T, B, V)."""

    vectors: Tensor

    def __init__(self, symbols: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.eye(symbols), persistent=False)  # follows the model's device and dtype

    def forward(self, ids: Tensor) -> Tensor:
        """Rows of the identity matrix."""
        return F.embedding(ids, self.vectors)


class _Layers(nn.Module):
    """Runs a network, (x, state) -> (outputs, state). A module, because functional_call calls modules.

    outputs are those of every layer if they are run one by one, with `between` applied to what the next layer reads; else that
    of the last one.
    """

    def __init__(self, network: RecurrentNetwork[Any], between: Callable[[Tensor], Tensor], one_by_one: bool) -> None:
        super().__init__()
        self.network, self.between = network, between
        self.one_by_one = one_by_one

    def forward(self, x: Tensor, state: Any) -> tuple[list[Tensor], Any]:
        if not self.one_by_one:
            h, state = self.network(x, state)
            return [h], state
        outputs: list[Tensor] = []

        def call(cell: RecurrentCell, rows: Tensor, state: Any, steps: TimeSteps) -> tuple[Tensor, Any]:
            read = self.between(outputs[-1]).flatten(0, 1) if outputs else rows
            h, state = call_cell(cell, read, state, steps)
            outputs.append(h.view(steps.time, steps.batch, -1))
            return h, state

        _, state = self.network.run(self.network.rows(x), state, call)
        return outputs, state


class CharacterModel(nn.Module):
    """Predicts the next character: `logits, state = model(ids, state)`.

    Args:
        config: the settings.
        symbols: V, the size of the alphabet.

    Example:
        >>> from hypernetworks.text import CharacterModel, CharacterModelConfig
        >>> model = CharacterModel(CharacterModelConfig(hidden_size=32), symbols=65)
        >>> ids = torch.randint(65, (10, 2))  # (time, batch)
        >>> logits, state = model(ids)
        >>> logits.shape
        torch.Size([10, 2, 65])
    """

    def __init__(self, config: CharacterModelConfig, symbols: int) -> None:
        super().__init__()
        self.config = config
        self.embedding: nn.Embedding | OneHot = (
            nn.Embedding(symbols, config.embedding_size) if config.embedding_size else OneHot(symbols)
        )
        between = 0.0 if config.layers_one_by_one else config.dropout
        self.network: RecurrentNetwork[Any] = make_network(config, config.embedding_size or symbols, between)
        if config.zoneout:
            zone_out(self.network, config.zoneout)
        layers = config.num_layers * config.hidden_size
        read = (config.embedding_size or symbols) + layers if config.skips else config.hidden_size
        self.head: nn.Linear = nn.Linear(read, symbols)
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
        return self.head(self._dropped(h, self.config.dropout)), state

    def read(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run the model without its head: what the head reads, (T, B, R), and the state."""
        config, x = self.config, self.embedding(ids)
        given = self._dropped(x, config.input_dropout)
        layers = _Layers(self.network, self._between, config.layers_one_by_one)
        if self.training and (config.state_dropout or config.weight_dropout):
            masked = masked_weights(self.network, config.state_dropout, config.weight_dropout)
            h, state = functional_call(layers, {f"network.{name}": w for name, w in masked.items()}, (given, state))
        else:
            h, state = layers(given, state)
        return self.head_reads(x, h), state

    def head_reads(self, x: Tensor, h: Sequence[Tensor]) -> Tensor:
        """What the head reads, from the embedding (…, E) and the output of every layer, each (…, H)."""
        return torch.cat([x, *h], dim=-1) if self.config.skips else h[-1]

    def _between(self, h: Tensor) -> Tensor:
        return self._dropped(h, self.config.dropout)

    def _dropped(self, values: Tensor, probability: float) -> Tensor:
        return dropped(values, probability, self.config.dropout_per) if self.training else values
