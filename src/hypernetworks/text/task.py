"""Next-character prediction with carried state: the task that the training loop drives."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hypernetworks.errors import UsageError
from hypernetworks.processes import distributed, gathered, is_first, parts, take_from_first
from hypernetworks.text.config import Symbols, TextConfig
from hypernetworks.text.corpus import Corpus
from hypernetworks.text.evaluate import TextScore, evaluate, evaluate_windows, in_characters
from hypernetworks.text.model import CharacterModel
from hypernetworks.text.streams import Streams
from hypernetworks.training.loop import Task
from hypernetworks.training.random import generator

FAR: Final = 0.5
"""How far above the training loss a validation is, in nats, if its reason is looked for. Overfitting is one, too."""

LOOKED_AT: Final = 8192
"""Characters that are read to find it."""


class CharacterTask(Task[CharacterModel]):
    """Truncated backpropagation through time on parallel streams of a text."""

    unit = "characters"

    def __init__(self, model: CharacterModel, config: TextConfig, data: Corpus) -> None:
        self.model: CharacterModel = model
        self.network: nn.Module = distributed(model)
        self.parts: Sequence[slice] = parts(config.batch_size, config.schedule.accumulate)
        self.batch_size: int = config.batch_size
        self.seed: int = config.schedule.seed
        offset_seed = config.schedule.seed if config.random_offsets else None
        self.streams: Streams = Streams(data.train, config.batch_size, config.length, offset_seed)
        self.validation: Tensor = validation_part(config, data)
        self.symbols: Symbols = Symbols(data.alphabet, data.unit)
        # its nats are those of each loss, see `_score`
        self._validated = in_characters(TextScore(len(self.validation) - 1, 0.0), self.validation, self.symbols)
        self.reset_probability: float = config.reset_probability
        # The state after the last step, each tensor (layers, B, ·); zero before the first. Only the streams of this process
        # are kept up to date.
        self.hidden: Sequence[Tensor] = model.network.cell(0).zero_state(
            model.head.weight.detach(), config.model.num_layers, config.batch_size
        )

    def loss(self, step: int, part: slice) -> tuple[Tensor, int]:
        """Mean −ln p of the next symbols of these streams, and the number of their characters."""
        weight = self.model.head.weight
        batch = self.streams.batch(step, part)
        read, predict = (ids.to(weight.device) for ids in batch)
        logits, state = self.network(read, self._initial_state(step, part))
        for carried, last in zip(self.hidden, self.model.network.cell(0).state_tensors(state.detach()), strict=True):
            carried[:, part] = last
        logits = logits.to(weight.dtype)  # autocast may have changed it
        characters = self.symbols.count_characters(batch[1])
        return F.cross_entropy(logits.flatten(0, 1), predict.flatten()), characters

    def _initial_state(self, step: int, part: slice) -> Any:
        """The carried state of these streams, zero for those that are reset at this step or whose text does not follow."""
        drawn = torch.rand(self.batch_size, 1, generator=generator(self.seed, "resets", step))
        kept = drawn[part] >= (self.reset_probability if self.streams.follows(step) else 1)
        kept = kept.to(self.hidden[0].device)
        return self.model.network.cell(0).named_state([tensor[:, part] * kept for tensor in self.hidden])

    def validate(self) -> Mapping[str, float]:
        """Score the validation text as one stream from the zero state, in the first process; the others wait."""
        nats = torch.tensor(evaluate(self.model, self.validation).nats if is_first() else 0.0, dtype=torch.float64)
        take_from_first(nats)
        score = self._score(nats.item())
        return {"validation_loss": score.nats, "validation_bpc": score.bpc}

    def warning(self, loss: float, figures: Mapping[str, float]) -> str:
        """Whether the state explains a validation far above the training loss: it starts at zero, training carries it."""
        found = figures["validation_loss"]
        if not is_first() or found - loss < FAR:
            return ""
        text, stream, length = self.validation[:LOOKED_AT], self.parts[0].start, self.streams.length
        own = self.model.network.cell(0).named_state([tensor[:, stream : stream + 1] for tensor in self.hidden])
        carried = evaluate(self.model, text, state=own).nats
        pieces = math.inf
        if length < len(text):
            pieces = evaluate_windows(self.model, text, length, windows=max(2, len(text) // length)).nats
        if found - min(carried, pieces) < (found - loss) / 2:
            return ""
        what = f"the validation of {found:.2f} nats is far above the training loss of {loss:.2f}: the same text scores"
        if carried < pieces:
            return (
                f"{what} {carried:.2f} after a state that training carried, so the model does not work from the zero state, "
                f"where validation and prompts start: give a --reset-probability above {self.reset_probability:g}"
            )
        return (
            f"{what} {pieces:.2f} in pieces of {length} symbols from the zero state, so the model does not work with a "
            f"state carried for long: give a --reset-probability below {self.reset_probability:g}, or a --length above {length}"
        )

    def fields(self, loss: float) -> Mapping[str, str]:
        """The loss in nats and in bits per character."""
        return {"loss": f"{loss:.3f}", "bpc": f"{self._score(loss).bpc:.3f}"}

    def _score(self, nats: float) -> TextScore:
        """The score of a loss, with as many characters for each symbol as in the validation text."""
        return replace(self._validated, nats=nats)

    def state(self) -> dict[str, Any]:
        """The carried state of all streams."""
        share = slice(self.parts[0].start, self.parts[-1].stop)
        return {"hidden": [torch.cat(gathered(tensor[:, share]), dim=1) for tensor in self.hidden]}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the carried state, on the model's device."""
        self.hidden = [tensor.to(self.model.head.weight.device) for tensor in state["hidden"]]


def validation_part(config: TextConfig, corpus: Corpus) -> Tensor:
    """The symbols on which a run is validated; UsageError if the corpus has fewer than two."""
    if len(corpus.validation) < 2:
        raise UsageError(f"{corpus.name} has a validation split of {len(corpus.validation)} symbols, at least 2 needed")
    return corpus.validation[: config.validation_characters or None]
