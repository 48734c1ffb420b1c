"""The texts that one model generates together: each step of its stepper produces one character for each of B texts.

Every text is exactly the one that `text generate` produces, whatever other texts are in the batch: it has its own random
generator, and on the native path its logits have the bits that they have alone. The head reads one row at a time. Without a
native path for the network or device, logits are equal up to rounding, and a draw can differ.

B texts, L layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic

import torch
from torch import Tensor

from hypernetworks.analysis import RelativeChange
from hypernetworks.serve.stream import Reason, Stream
from hypernetworks.text.coloured import Letter, largest, letters, weight_changes
from hypernetworks.text.config import Symbols
from hypernetworks.text.generate import Draws, Sampling, Spelling, prompt_ids
from hypernetworks.text.model import CharacterModel
from hypernetworks.text.stepper import Weights, read_step, stepper


@dataclass(eq=False)
class Job:
    """A requested text."""

    run: str
    """The name of the run whose model generates it."""
    prompt: str
    sampling: Sampling
    stream: Stream
    deadline: float = field(default=float("inf"))
    """When its time is over, on the clock of time.monotonic."""

    def should_stop(self) -> bool:
        """Whether to stop generating: it was cancelled, or its time is over. In the latter case its stream is ended."""
        if not self.stream.cancelled and monotonic() > self.deadline:
            self.stream.end("time-out")
            return True
        return self.stream.cancelled


class ActiveText:
    """A text that is being generated."""

    def __init__(self, job: Job, symbols: Symbols) -> None:
        self.job = job
        self.drawn = 0
        """The last id that was drawn."""
        self._left = job.sampling.length
        self._draw = Draws(job.sampling)
        self._spell = Spelling(symbols.alphabet, symbols.unit)
        self._changes: list[Sequence[float]] = []  # of the bytes that are no whole character yet

    def draw(self, logits: Tensor, changes: Sequence[float]) -> None:
        """Draw one more character from its logits (V,), which a step gave that changed the weights of each gate."""
        self.drawn = self._draw(logits)
        self._left -= 1
        self._changes.append(changes)
        text = self._spell(self.drawn) + (self._spell.end() if self.complete else "")
        if text:
            self.job.stream.put(Letter(text, largest(self._changes)))
            self._changes = []
        if self.complete:
            self.job.stream.end("length")

    @property
    def complete(self) -> bool:
        """Whether all characters were generated."""
        return self._left == 0


class Batch:
    """A model and the texts that it is generating.

    Args:
        model: the model.
        symbols: its alphabet.
        weights: how the weights are stored, see `stepper`.
        frozen_of: the name of the run whose weights the model has, if its own do not move.
    """

    def __init__(
        self, model: CharacterModel, symbols: Symbols, weights: Weights = "float32", frozen_of: str | None = None
    ) -> None:
        self.model = model.eval()
        self.symbols = symbols
        self.frozen_of = frozen_of
        self.texts: list[ActiveText] = []
        self.change = RelativeChange(model.network)
        self._step = stepper(model, 1, weights)
        self._state: list[Tensor] = []  # a copy of the stepper's: one row per text, each tensor (L, B, ·)

    def prompt(self, text: str) -> Tensor:
        """The ids that the model reads for a prompt, (length,).

        Raises:
            UsageError: the prompt has characters that are not in the alphabet.
        """
        return prompt_ids(text, self.symbols.alphabet, self.symbols.unit)

    def warm_up(self) -> None:
        """Generate two characters for nobody, so that all kernels are built."""
        self.admit(Job("", "", Sampling(length=2), Stream(lambda: None)))
        self.step()

    @torch.inference_mode()
    def admit(self, job: Job) -> None:
        """Add a text: read its prompt and draw its first character."""
        text = ActiveText(job, self.symbols)
        self.texts.append(text)
        prompt = self.prompt(job.prompt)
        ids = prompt.long().to(self.model.head.weight.device)
        changes = weight_changes(self.model, ids, self.change).tolist()
        job.stream.start(letters(prompt, [(), *changes[:-1]], self.symbols) if job.prompt else [])
        logits, state = self.model(ids.unsqueeze(1))
        tensors = self.model.network.cell(0).state_tensors(state)
        if len(self.texts) > 1:
            tensors = [torch.cat(pair, dim=1) for pair in zip(self._state, tensors, strict=True)]
        self._set_state(list(tensors))
        text.draw(logits[-1, 0], changes[-1])
        self._drop_complete()

    @torch.inference_mode()
    def step(self) -> None:
        """Draw one more character for every text, and remove those that are complete."""
        ids = torch.tensor([text.drawn for text in self.texts], device=self.model.head.weight.device)
        h = read_step(self.model, self._step, ids)
        before, self._state = self._state, list(self.model.network.cell(0).state_tensors(self._step.state))
        for text, own_h, changes in zip(self.texts, h.split(1), self._changes(before, self._state), strict=True):
            # copied, because the alignment of a vector can change the order of summation
            text.draw(self.model.head(own_h.clone())[0], changes)
        self._drop_complete()

    @torch.inference_mode()
    def drop_stopped(self) -> None:
        """Remove the texts that were cancelled or whose time is over."""
        self._keep([not text.job.should_stop() for text in self.texts])

    def end(self, reason: Reason) -> None:
        """End all texts."""
        for text in self.texts:
            text.job.stream.end(reason)
        self.texts = []

    def _changes(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> list[list[float]]:
        """The changes of each gate for each text, from the states before and after a step."""
        if not self.change.gates:
            return [[]] * len(self.texts)
        place = self.model.network.cell(0).state_names.index("hyper_h")
        return self.change(before[place], after[place]).T.tolist()

    def _drop_complete(self) -> None:
        self._keep([not text.complete for text in self.texts])

    def _keep(self, kept: list[bool]) -> None:
        if all(kept):
            return
        self.texts = [text for text, keep in zip(self.texts, kept, strict=True) if keep]
        chosen = torch.tensor(kept, device=self.model.head.weight.device)
        if self.texts:
            self._set_state([tensor[:, chosen] for tensor in self._state])

    def _set_state(self, tensors: list[Tensor]) -> None:
        self._state = tensors
        self._step.state = self.model.network.cell(0).named_state(tensors)
