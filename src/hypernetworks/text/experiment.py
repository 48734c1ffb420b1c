"""The text experiment: character models on Shakespeare, the Penn Treebank, enwik8 or any text."""

import math
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from hypernetworks.errors import UsageError
from hypernetworks.experiments import Experiment, Score
from hypernetworks.runs.run import Run
from hypernetworks.text.config import Symbols, TextConfig
from hypernetworks.text.corpus import Corpus, load_corpus
from hypernetworks.text.data_sets import NAMED_SETS
from hypernetworks.text.evaluate import TextScore, evaluate, in_characters
from hypernetworks.text.generate import Sampling, generate
from hypernetworks.text.model import CharacterModel
from hypernetworks.text.presets import PRESETS
from hypernetworks.text.sizes import count_parameters, flops_per_character
from hypernetworks.text.stepper import Weights
from hypernetworks.text.task import CharacterTask
from hypernetworks.text.translate import translate
from hypernetworks.training.device import find_device
from hypernetworks.training.loop import Task

__all__ = [
    "TEXT",
    "TextExperiment",
    "describe_score",
    "evaluate_ids",
    "load_run",
    "sample",
    "symbols_of",
]

SAMPLES: Final = "samples.txt"


class TextExperiment(Experiment[TextConfig, Corpus, CharacterModel]):
    """Next-symbol prediction, scored in bits per character."""

    name = "text"
    format = 2
    data_key = "corpus"
    config_type = TextConfig
    task_type: type[Task[CharacterModel]] = CharacterTask
    presets: Mapping[str, Any] = PRESETS
    score: ClassVar[Score] = Score("validation_bpc", "bits per character", digits=3)
    variant = "network"
    path_settings: ClassVar[Sequence[str]] = ("corpus", "validation_text", "test_text")
    named_data: ClassVar[Collection[str]] = NAMED_SETS
    if_moved = "if the run's text has moved, give its new path"
    headings: ClassVar[Mapping[str, str]] = {
        "hidden_size": "hidden",
        "flops_per_character": "FLOPs/char",
        "characters_per_second": "chars/s",
        "validation_bpc": "bits/char",
    }

    def data_name(self, config: TextConfig) -> str:
        """The name or path of the corpus, and of the texts of its splits."""
        return ", ".join(filter(None, (config.corpus, config.validation_text, config.test_text)))

    def load_data(self, config: TextConfig, data_dir: Path | None) -> Corpus:
        """Load the corpus."""
        return load_corpus(
            config.corpus,
            data_dir,
            validation_text=config.validation_text,
            test_text=config.test_text,
            unit=config.unit,
        )

    def upgrade(self, settings: dict[str, Any], written: int) -> dict[str, Any]:
        """In format 1, dropout acted on the input, too."""
        match settings:
            case {"model": {"dropout": probability, **others}}:
                return {**settings, "model": {**others, "dropout": probability, "input_dropout": probability}}
        return settings

    def record(self, data: Corpus) -> dict[str, Any]:
        """Source, checksum, sizes, and the symbols of the model."""
        return {**super().record(data), "unit": data.unit, "alphabet": list(data.alphabet)}

    def fitted(self, data: Corpus, record: Mapping[str, Any]) -> Corpus:
        """The corpus in the symbols of the record; UsageError if it has others."""
        symbols = symbols_of(record)
        if (data.alphabet, data.unit) == (symbols.alphabet, symbols.unit):
            return data
        try:
            train, validation, test = (
                translate(ids, data, symbols) for ids in (data.train, data.validation, data.test)
            )
        except UsageError as error:
            raise UsageError(f"{data.name} does not fit the model's alphabet: {error}") from error
        return replace(
            data, train=train, validation=validation, test=test, alphabet=symbols.alphabet, unit=symbols.unit
        )

    def is_record(self, record: Mapping[str, Any]) -> bool:
        """Whether the alphabet is one."""
        match record:
            case {"unit": "character" | "byte" | "word" as unit, "alphabet": [_, *_] as alphabet}:
                last = "\xff" if unit == "byte" else chr(sys.maxunicode)
                longest = sys.maxsize if unit == "word" else 1
                return all(
                    isinstance(each, str) and 1 <= len(each) <= longest and max(each) <= last for each in alphabet
                )
        return False

    def make_model(self, config: TextConfig, record: Mapping[str, Any]) -> CharacterModel:
        """Make a character model for the recorded alphabet."""
        return CharacterModel(config.model, len(record["alphabet"]))

    def count_parameters(self, config: TextConfig, record: Mapping[str, Any]) -> int:
        """The number of parameters, each counted once."""
        return count_parameters(config.model, len(record["alphabet"]))

    def describe_data(self, data: Corpus) -> str:
        """Name, sizes and number of symbols."""
        what = "words and other characters" if data.unit == "word" else f"{data.unit}s"
        return f"{super().describe_data(data)} {what}, {len(data.alphabet):,} symbols"

    def describe_model(self, config: TextConfig) -> str:
        """The name of the network."""
        return config.model.network

    def describe_validation(self, figures: Mapping[str, float], record: Mapping[str, Any]) -> str:
        """Nats and bits per character or byte; of a model of words, nats per symbol and bits per character."""
        nats, bits = figures["validation_loss"], figures["validation_bpc"]
        if record["unit"] == "word":
            return f"{nats:.4f} nats per symbol, {bits:.4f} bits per character"
        return f"{nats:.4f} nats, {bits:.4f} bits per {record['unit']}"

    def evaluate(self, model: CharacterModel, record: Mapping[str, Any], data: Corpus, split: str) -> str:
        """Score a split as one stream."""
        return evaluate_ids(model, symbols_of(record), translate(getattr(data, split), data, symbols_of(record)))

    def figures(self, config: TextConfig, record: Mapping[str, Any]) -> dict[str, float]:
        """Size and cost of a network."""
        return {
            "hidden_size": config.model.hidden_size,
            **super().figures(config, record),
            "flops_per_character": flops_per_character(config.model, len(record["alphabet"])),
        }

    def flops_per_step(self, config: TextConfig, record: Mapping[str, Any]) -> float:
        """Three times the operations of a forward pass."""
        return 3.0 * flops_per_character(config.model, len(record["alphabet"])) * config.batch_size * config.length

    def final_scores(self, run: Run, data: Corpus) -> dict[str, float]:
        """The loss on the test split, if the corpus has one."""
        if len(data.test) < 2:
            return {}
        model, config, _ = self.load(run.folder)
        return {"test_loss": evaluate(model.to(find_device(config.device)), data.test).nats}

    def sample(self, folder: Path) -> str:
        """A short text of the best model."""
        model, _, record = self.load(folder)
        return sample(model, symbols_of(record), Sampling(length=300))

    def finish(self, run: Run, device: torch.device) -> None:
        """Write a text of the best model to samples.txt."""
        model, _, record = self.load(run.folder)
        run.write_text(SAMPLES, sample(model.to(device), symbols_of(record), Sampling()))

    def outcome(self, run: Run) -> str:
        """The text that `finish` wrote."""
        return (run.folder / SAMPLES).read_text(encoding="utf-8")


TEXT: Final = TextExperiment()
"""The experiment: `TEXT.train`, `TEXT.resume` and `TEXT.load` are what the commands call."""


def load_run(folder: str | Path) -> tuple[CharacterModel, TextConfig, Symbols]:
    """Load the best model of a run, its settings, and the symbols that it reads and predicts.

    Raises:
        UsageError: the folder holds no run of the text experiment, or no model yet.
    """
    model, config, record = TEXT.load(folder)
    return model, config, symbols_of(record)


def symbols_of(record: Mapping[str, Any]) -> Symbols:
    """The symbols that a run's record lists."""
    return Symbols(tuple(record["alphabet"]), record["unit"])


def evaluate_ids(model: CharacterModel, symbols: Symbols, ids: Tensor, weights: Weights = "float32") -> str:
    """Score a text of symbol ids (N,), and describe the score."""
    return describe_score(in_characters(evaluate(model, ids, weights), ids, symbols), symbols, "one stream")


def describe_score(score: TextScore, symbols: Symbols, how: str) -> str:
    """A score as text; `how` says how the text was read."""
    if symbols.unit == "word":
        return (
            f"{score.symbols:,} symbols predicted ({score.characters:,} characters), {how}\n"
            f"{score.nats:.4f} nats per symbol, perplexity {math.exp(score.nats):.3f}, {score.bpc:.4f} bits per character"
        )
    return (
        f"{score.characters:,} {symbols.unit}s predicted, {how}\n"
        f"{score.nats:.4f} nats, {score.bpc:.4f} bits per {symbols.unit}, perplexity {math.exp(score.nats):.3f}"
    )


def sample(model: CharacterModel, symbols: Symbols, sampling: Sampling) -> str:
    """A text of the model that begins at the start of a line, preceded by a line with the sampling settings."""
    settings = ", ".join(f"{name} {value}" for name, value in asdict(sampling).items())
    return f"[{settings}]\n" + "".join(generate(model, symbols.alphabet, symbols.unit, "", sampling)) + "\n"
