"""Training a character model: the experiment that the shared loop drives, its run's beginning, going on, and end."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hypernetworks.errors import FaultError, UsageError
from hypernetworks.experiments.begin import begun, restored
from hypernetworks.experiments.config import find_device
from hypernetworks.processes import distributed, gathered, is_first, parts, take_from_first
from hypernetworks.runs.curve import draw_run
from hypernetworks.runs.run import Run
from hypernetworks.text.config import Symbols, TextConfig, read_run_config, run_config
from hypernetworks.text.corpus import Corpus, load_corpus
from hypernetworks.text.evaluate import Score, evaluate
from hypernetworks.text.generate import Sampling, generate
from hypernetworks.text.model import CharacterModel, count_parameters
from hypernetworks.text.streams import Streams
from hypernetworks.training.draws import generator
from hypernetworks.training.loop import Task, Trainer, load_best


class CharacterTask(Task[CharacterModel]):
    """Next-character prediction on streams with carried state: truncated backpropagation through time."""

    unit = "characters"

    def __init__(self, model: CharacterModel, config: TextConfig, corpus: Corpus) -> None:
        self.model, self.network = model, distributed(model)
        self.parts = parts(config.batch_size, config.schedule.accumulate)
        self.batch_size, self.seed = config.batch_size, config.schedule.seed
        self.streams = Streams(corpus.train, config.batch_size, config.length)
        self.validation = validation_part(config, corpus)
        self.reset_probability = config.reset_probability
        # The state after the last step, (layers, B, ·) each; zero before the first. Of the streams of other processes it is
        # what it was when the run went on.
        self.hidden: Sequence[Tensor] = model.network.cell(0).zero_state(
            model.head.weight.detach(), config.model.num_layers, config.batch_size
        )

    def loss(self, step: int, part: slice) -> tuple[Tensor, int]:
        """Mean −ln p of the characters that these streams should predict."""
        weight = self.model.head.weight
        read, predict = (ids.to(weight.device) for ids in self.streams.batch(step, part))
        logits, state = self.network(read, self._initial_state(step, part))
        for carried, last in zip(self.hidden, self.model.network.cell(0).state_tensors(state.detach()), strict=True):
            carried[:, part] = last
        logits = logits.to(weight.dtype)  # autocast made them in another
        return F.cross_entropy(logits.flatten(0, 1), predict.flatten()), predict.numel()

    def _initial_state(self, step: int, part: slice) -> Any:
        """The carried state of these streams, but zero for those that begin anew."""
        drawn = torch.rand(self.batch_size, 1, generator=generator(self.seed, "resets", step))
        kept = (drawn[part] >= self.reset_probability).to(self.hidden[0].device)
        return self.model.network.cell(0).named_state([tensor[:, part] * kept for tensor in self.hidden])

    def validate(self) -> Mapping[str, float]:
        """The validation text as one stream from the zero state: no second process could begin before the first has ended."""
        nats = torch.tensor(evaluate(self.model, self.validation).nats if is_first() else 0.0, dtype=torch.float64)
        take_from_first(nats)
        score = Score(len(self.validation) - 1, nats.item())
        return {"validation_loss": score.nats, "validation_bpc": score.bpc}

    def fields(self, loss: float) -> Mapping[str, str]:
        """Loss in nats, and in bits per character."""
        return {"loss": f"{loss:.3f}", "bpc": f"{loss / math.log(2):.3f}"}

    def state(self) -> dict[str, Any]:
        """The carried state of all streams, as a list of tensors."""
        share = slice(self.parts[0].start, self.parts[-1].stop)
        return {"hidden": [torch.cat(gathered(tensor[:, share]), dim=1) for tensor in self.hidden]}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take the carried state back, on the model's device."""
        self.hidden = [tensor.to(self.model.head.weight.device) for tensor in state["hidden"]]


def validation_part(config: TextConfig, corpus: Corpus) -> Tensor:
    """The characters on which a run is validated while training; UsageError where the corpus has none."""
    if len(corpus.validation) < 2:
        raise UsageError(
            f"{corpus.name} has a validation split of {len(corpus.validation)} characters, at least 2 needed"
        )
    return corpus.validation[: config.validation_characters or None]


def train(folder: Path, config: TextConfig, corpus: Corpus, label: str) -> Run:
    """Train a model in a new run folder."""
    task = _task(config, corpus)
    with begun(folder, run_config(config, corpus)) as run:
        return _train(run, config, corpus, task, label, None)


def resume(folder: Path, corpus: Corpus, label: str) -> Run:
    """Go on with a run from its last commit, to the same numbers as if it had never stopped.

    Raises:
        UsageError: the folder is no run of a character model, or the corpus is not the one that it read.
    """
    run = Run.open(folder)
    config, _, sha256 = read_run_config(run.config, str(folder))
    check_same_text(folder, corpus, sha256)
    task = _task(config, corpus)
    with restored(run) as state:
        return _train(run, config, corpus, task, label, state)


def _task(config: TextConfig, corpus: Corpus) -> CharacterTask:
    """The experiment at its beginning. All that can be wrong with settings and corpus is found here, before a run is made."""
    device = find_device(config.device)
    torch.manual_seed(config.schedule.seed)
    try:
        model = CharacterModel(config.model, len(corpus.alphabet)).to(device)
    except RuntimeError as error:
        count = count_parameters(config.model, len(corpus.alphabet))
        raise FaultError(f"no room for a model of {count:,} parameters: {str(error).partition(chr(10))[0]}") from error
    return CharacterTask(model, config, corpus)


def _train(
    run: Run,
    config: TextConfig,
    corpus: Corpus,
    task: CharacterTask,
    label: str,
    state: Mapping[str, Any] | None,
) -> Run:
    Trainer(task, config.schedule, run, state).train(label)
    if not is_first():
        return run
    with suppress(ImportError):  # without matplotlib a run has no picture; `hypernetworks doctor` tells
        draw_run(run)
    best = load_best(CharacterModel(config.model, len(corpus.alphabet)), run).to(task.model.head.weight.device)
    run.write_text("samples.txt", sample(best, Symbols(corpus.alphabet, corpus.unit), Sampling()))
    return run


def load_run(folder: Path) -> tuple[CharacterModel, TextConfig, Symbols]:
    """The best model of a run folder, its settings, and the symbols it knows; UsageError where the folder is no such run."""
    run = Run.open(folder)
    config, symbols, _ = read_run_config(run.config, str(folder))
    return load_best(CharacterModel(config.model, len(symbols.alphabet)), run), config, symbols


def corpus_of(folder: Path, data_dir: Path | None) -> Corpus:
    """The corpus that a run reads; UsageError where it is another text by now: its splits would not be the run's."""
    config, _, sha256 = read_run_config(Run.open(folder).config, str(folder))
    corpus = load_corpus(config.corpus, data_dir)
    check_same_text(folder, corpus, sha256)
    return corpus


def check_same_text(place: Path, corpus: Corpus, sha256: str) -> None:
    """UsageError unless the corpus is the text of this sum, which the run at `place` read."""
    if corpus.sha256 != sha256:
        raise UsageError(f"{place}: the run read another text than {corpus.name} is now (sha256 {sha256[:12]}…)")


def sample(model: CharacterModel, symbols: Symbols, sampling: Sampling) -> str:
    """A text of the model that begins at a line's start, below a line that tells how it was made."""
    settings = ", ".join(f"{name} {value}" for name, value in asdict(sampling).items())
    return f"[{settings}]\n" + "".join(generate(model, symbols.alphabet, symbols.unit, "", sampling)) + "\n"
