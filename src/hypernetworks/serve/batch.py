"""The texts that one model generates together: each step of its stepper produces one character for each of B texts.

Every text is exactly the one that `text generate` produces, whatever other texts are in the batch: it has its own random
generator, and on the native path its logits have the bits that they have alone. The head reads one row at a time. Without a
native path for the network or device, logits are equal up to rounding, and a draw can differ.

B texts, L layers.
"""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from hypernetworks.analysis import RelativeChange
from hypernetworks.serve.job import ActiveText, Job
from hypernetworks.serve.stream import Reason, Stream
from hypernetworks.text.coloured import Letter, changes_between, letters, states_of_text
from hypernetworks.text.config import Symbols
from hypernetworks.text.details import Inside, Insides, details_of
from hypernetworks.text.generate import Sampling, prompt_ids
from hypernetworks.text.model import CharacterModel
from hypernetworks.text.stepper import Weights, read_step, stepper


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
        self.model: CharacterModel = model.eval()
        self.symbols = symbols
        self.frozen_of = frozen_of
        self.texts: list[ActiveText] = []
        self._reading: Job | None = None  # whose prompt is being read
        self.change: RelativeChange = RelativeChange(model.network)
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
        """Read a prompt and add its text, of which the first character is drawn."""
        self._reading = job
        prompt = self.prompt(job.prompt)
        ids = prompt.long().to(self.model.head.weight.device)
        changes, insides = self._read(ids, job.details > 0)
        logits, state = self.model(ids.unsqueeze(1))
        job.stream.start(self._letters(prompt, changes, insides, logits[:, 0]) if job.prompt else [])
        self._reading = None
        if job.sampling is None:
            job.stream.end("length")
            return
        text = ActiveText(job, job.sampling, self.symbols)
        self.texts.append(text)
        tensors = self.model.network.cell(0).state_tensors(state)
        if len(self.texts) > 1:
            tensors = [torch.cat(pair, dim=1) for pair in zip(self._state, tensors, strict=True)]
        self._set_state(list(tensors))
        text.draw(logits[-1, 0], changes[-1], insides[-1])
        self._drop_complete()

    @torch.inference_mode()
    def step(self) -> None:
        """Draw one more character for every text, and remove those that are complete."""
        ids = torch.tensor([text.drawn for text in self.texts], device=self.model.head.weight.device)
        h = read_step(self.model, self._step, ids)
        before, self._state = self._state, list(self.model.network.cell(0).state_tensors(self._step.state))
        changes, insides = self._changes(before, self._state), self._insides(ids, before, self._state)
        for text, own_h, own_changes, inside in zip(self.texts, h.split(1), changes, insides, strict=True):
            # copied, because the alignment of a vector can change the order of summation
            text.draw(self.model.head(own_h.clone())[0], own_changes, inside)
        self._drop_complete()

    @torch.inference_mode()
    def drop_stopped(self) -> None:
        """Remove the texts that were cancelled or whose time is over."""
        self._keep([not text.job.should_stop() for text in self.texts])

    @property
    def active(self) -> int:
        """How many texts are being read or generated."""
        return len(self.texts) + (self._reading is not None)

    def end(self, reason: Reason) -> None:
        """End all texts."""
        for job in [text.job for text in self.texts] + ([self._reading] if self._reading else []):
            job.stream.end(reason)
        self.texts, self._reading = [], None

    def _changes(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> list[list[float]]:
        """The changes of each gate for each text, from the states before and after a step."""
        if not self.change.gates:
            return [[]] * len(self.texts)
        return changes_between(before, after, self.change).tolist()

    def _insides(self, ids: Tensor, before: Sequence[Tensor], after: Sequence[Tensor]) -> list[Inside | None]:
        """What happened in a step of each text that has details of it."""
        found: list[Inside | None] = [None] * len(self.texts)
        rows = [row for row, text in enumerate(self.texts) if text.has_details]
        if rows:
            of_rows = [[part[:, rows] for part in state] for state in (before, after)]
            for row, inside in zip(rows, self._look_inside(ids[rows], *of_rows), strict=True):
                found[row] = inside
        return found

    def _read(self, ids: Tensor, has_details: bool) -> tuple[list[list[float]], Sequence[Inside | None]]:
        """The changes of each gate in the steps that read a prompt, and what else happened in them."""
        nothing = [None] * len(ids)
        if not self.change.gates:
            return [[]] * len(ids), [Inside()] * len(ids) if has_details else nothing
        before, after = states_of_text(self.model, ids)
        changes = changes_between(before, after, self.change).tolist()
        return changes, self._look_inside(ids, before, after) if has_details else nothing

    def _letters(
        self, prompt: Tensor, changes: Sequence[Sequence[float]], insides: Sequence[Inside | None], logits: Tensor
    ) -> list[Letter]:
        """The letters of a prompt. Each has what is known of the step before: its first character has none."""
        details = [
            None if inside is None else details_of(inside, of_step, following, self.symbols)
            for inside, of_step, following in zip(insides, logits, prompt[1:].tolist(), strict=False)
        ]
        return letters(prompt, [(), *changes[:-1]], self.symbols, [None, *details])

    @cached_property
    def _look_inside(self) -> Insides:
        """Gathers the weights again, so it is made when details are first asked for."""
        return Insides(self.model)

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
