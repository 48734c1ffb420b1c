"""The commands of `hypernetworks text`."""

import itertools
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, ClassVar

from torch import Tensor
from tyro.conf import OmitArgPrefixes, Positional

from hypernetworks.errors import UsageError, check_count
from hypernetworks.experiments.commands import EvaluateCommand, TrainCommand, check_split, preset_help
from hypernetworks.experiments.network_compare import NetworkCompareCommand
from hypernetworks.experiments.report import ReportedRun
from hypernetworks.experiments.report_command import ReportCommand
from hypernetworks.files import read_whole
from hypernetworks.terminal import shown
from hypernetworks.text.alphabet import symbol_name, text_of_bytes
from hypernetworks.text.config import Symbols, TextConfig
from hypernetworks.text.corpus import Corpus, whole_text
from hypernetworks.text.dynamic import Dynamics, evaluate_dynamically
from hypernetworks.text.evaluate import Protocol, evaluate_ensemble, evaluate_windows, in_characters
from hypernetworks.text.experiment import TEXT, TextExperiment, describe_score, evaluate_ids, load_run, symbols_of
from hypernetworks.text.frozen import with_frozen_scales
from hypernetworks.text.generate import Sampling, generate
from hypernetworks.text.model import CharacterModel
from hypernetworks.text.presets import PRESETS_IN_WORDS
from hypernetworks.text.report import page
from hypernetworks.text.stepper import Weights
from hypernetworks.text.strips_command import given_text
from hypernetworks.text.translate import ids_of
from hypernetworks.training.device import find_device


@dataclass(frozen=True)
class Train(TrainCommand):
    """Train a character model on a text; the run folder holds the best model, the metrics, a curve and a sample."""

    experiment: ClassVar[TextExperiment] = TEXT
    preset: Annotated[str, preset_help(PRESETS_IN_WORDS)] = "default"
    settings: Annotated[TextConfig, OmitArgPrefixes] = field(default_factory=TextConfig)
    out: Path = Path("runs/text")


@dataclass(frozen=True)
class Evaluate(EvaluateCommand):
    """Score the best model of a run on a split or another text.

    The text is one stream, and every character except the first is predicted once. --protocol windows scores random windows
    instead, and --dynamic a model that learns while it reads; their scores are not comparable. --ensemble scores several models
    as one.
    """

    experiment: ClassVar[TextExperiment] = TEXT
    text: str | None = None
    """Score the whole of another text instead of a split: a named data set, or the path of a UTF-8 text or folder of texts."""
    characters: int = 0
    """Read the first N characters only, and score the N - 1 after the first; 0: all."""
    ensemble: tuple[Path, ...] = ()
    """Runs with the same symbols: the mean of the probabilities of their models and this one is scored."""
    weights: Weights = "float32"
    """How the weights are stored. bfloat16 and int8 read the text step by step, and show what generation loses with them."""
    protocol: Protocol = "stream"
    """stream: one stream. windows: random windows, each from the zero state, as nanoGPT scores."""
    window: int = 256
    """Characters predicted in each window (windows)."""
    dynamic: bool = False
    """Dynamic evaluation: the model learns from each segment after it was scored."""
    dynamics: Dynamics = field(default_factory=Dynamics)
    freeze_scales: bool = False
    """Give every scale that the hyper cell generates its mean over the training text, at every step: the difference of the loss
    is what weights that move give to this model (hyper networks)."""

    def __call__(self) -> None:
        """Print nats and bits per character."""
        ways = (self.protocol == "windows", self.dynamic, self.weights != "float32")
        if sum(ways) > 1:
            raise UsageError("a model is scored with one of --protocol windows, --dynamic and --weights, got several")
        if self.ensemble and any((*ways, self.freeze_scales)):
            raise UsageError(
                "an ensemble is scored as one stream, by fixed models with their own weights: --ensemble takes none of "
                "--protocol windows, --dynamic, --weights and --freeze-scales"
            )
        check_split(self.split)
        if self.characters < 0:
            raise UsageError(f"characters should be at least 0 (0: all), got {self.characters}")
        model, _, symbols = load_run(self.run)
        if self.text is None:
            corpus = TEXT.data_of(self.run, self.data_dir)
            name, ids = f"{corpus.name}, {self.split}", getattr(corpus, self.split)[: self.characters or None]
        else:
            name = f"{self.text}, whole text"
            ids = ids_of(*whole_text(self.text, self.data_dir), symbols, self.characters)
        model = model.to(find_device(self.device))
        if self.freeze_scales:
            model = with_frozen_scales(model, TEXT.data_of(self.run, self.data_dir).train)
        if self.protocol == "windows":
            score = evaluate_windows(model, ids, self.window)
            result = (
                f"{score.windows:,} random windows of {self.window} {symbol_name(symbols.unit)}s, each from the zero state\n"
                f"{score.nats:.4f} nats per {symbol_name(symbols.unit)} (standard error {score.error:.4f})"
            )
        elif self.dynamic:
            training = TEXT.data_of(self.run, self.data_dir).train
            found = in_characters(evaluate_dynamically(model, ids, training, self.dynamics), ids, symbols)
            result = describe_score(found, symbols, f"one stream, dynamic evaluation ({self.dynamics})")
        elif self.ensemble:
            models = [model, *(self._other(run, symbols).to(find_device(self.device)) for run in self.ensemble)]
            found = in_characters(evaluate_ensemble(models, ids), ids, symbols)
            count = sum(parameter.numel() for each in models for parameter in each.parameters())
            result = describe_score(
                found, symbols, f"one stream, an ensemble of {len(models)} models, {count:,} parameters in all"
            )
        else:
            result = evaluate_ids(model, symbols, ids, self.weights)
        frozen = ", scales frozen at their mean over the training text" if self.freeze_scales else ""
        print(f"{' + '.join(map(str, (self.run, *self.ensemble)))} on {name}{frozen}: {result}")

    def _other(self, run: Path, symbols: Symbols) -> CharacterModel:
        """The model of another run of the ensemble."""
        model, _, own = load_run(run)
        if own != symbols:
            raise UsageError(
                f"an ensemble requires models of the same symbols: {run} has {len(own.alphabet):,} {own.unit} symbols, "
                f"{self.run} has {len(symbols.alphabet):,} {symbols.unit} symbols, and they are not the same"
            )
        return model


@dataclass(frozen=True)
class Compare(NetworkCompareCommand):
    """Train several networks of equal size on the same text, and compare what each reaches and costs.

    The comparison chooses --hidden-size, --network and --seed for each model: give --parameters, --networks and --seeds. A flag
    may give networks settings of their own: --learning-rate lstm=3e-3 hyper-lstm=2e-3.
    """

    experiment: ClassVar[TextExperiment] = TEXT
    preset: Annotated[str, preset_help(PRESETS_IN_WORDS)] = "default"
    settings: Annotated[TextConfig, OmitArgPrefixes] = field(default_factory=TextConfig)
    networks: tuple[str, ...] = ("lstm", "layer-norm-lstm", "rhn", "hyper-lstm")

    def caption(self, data: Corpus) -> str:
        """How much of the text the models read."""
        steps, batch, length = self.settings.schedule.steps, self.settings.batch_size, self.settings.length
        scored = self.settings.validation_characters or len(data.validation)
        runs = f"mean and range of seeds {' '.join(map(str, self.seeds))}" if len(self.seeds) > 1 else "one seed"
        times = steps * batch * length / len(data.train)
        read = f"{times:.0%} of the text" if times < 1 else f"the text {times:.1f} times"
        return (
            f"Validation on {scored:,} {symbol_name(data.unit)}s, {runs}; training curves are faint. {steps:,} steps read "
            f"{read}. This shows how fast these networks learn with these "
            "settings, not what they reach after long training or with other settings."
        )


@dataclass(frozen=True)
class Generate:
    """Generate text with the best model of a run, printed character by character, or word by word."""

    run: Positional[Path]
    """The run's folder."""
    prompt: str = ""
    """The beginning of the text; empty: a new line. -: what standard input holds, with its last newline."""
    prompt_file: Path | None = None
    """A UTF-8 file with the beginning of the text."""
    sampling: Annotated[Sampling, OmitArgPrefixes] = field(default_factory=Sampling)
    samples: int = 1
    """How many texts to generate: the first with --seed, the others with the numbers after it."""
    json: bool = False
    """Print each text as one line of JSON, with its prompt and its seed."""
    weights: Weights = "float32"
    """How the weights are stored: float32, or bfloat16 or int8, which are faster on the CPU but round them."""
    device: str = "auto"
    """cpu, cuda, …; auto uses cuda if available."""

    def __call__(self) -> None:
        """Stream to standard output."""
        check_count("samples", self.samples)
        seeds = range(self.sampling.seed, self.sampling.seed + self.samples)
        replace(self.sampling, seed=seeds[-1])  # a seed too large is found before the first text
        prompt = self._prompt()
        model, _, symbols = load_run(self.run)
        model = model.to(find_device(self.device))
        for number, seed in enumerate(seeds, 1):
            sampling = replace(self.sampling, seed=seed)
            pieces = generate(model, symbols.alphabet, symbols.unit, prompt, sampling, self.weights)
            if self.json:
                print(json.dumps({"prompt": prompt, "text": "".join(pieces), "seed": seed}), flush=True)
                continue
            if self.samples > 1:
                print(f"[{number} of {self.samples}, seed {seed}]")
            for piece in itertools.chain([prompt], pieces):
                sys.stdout.write(shown(piece))
                sys.stdout.flush()
            sys.stdout.write("\n")

    def _prompt(self) -> str:
        if self.prompt_file is not None:
            if self.prompt:
                raise UsageError(f"give --prompt or --prompt-file, got both: {self.prompt!r} and {self.prompt_file}")
            return text_of_bytes(read_whole(self.prompt_file), self.prompt_file)
        return text_of_bytes(sys.stdin.buffer.read(), Path("/dev/stdin")) if self.prompt == "-" else self.prompt


@dataclass(frozen=True)
class Report(ReportCommand):
    """Write an HTML page about a run: curves, settings, parameters, and text coloured by how much the generated weights change.

    The page needs no network and no other file. It compares the first run with the others.
    """

    experiment: ClassVar[TextExperiment] = TEXT
    text: str | None = None
    """A text to colour besides the sample: a UTF-8 file, or the text itself."""
    sampling: Annotated[Sampling, OmitArgPrefixes] = field(default_factory=Sampling)

    def make_page(self, runs: Sequence[ReportedRun]) -> str:
        """With a sample of the model, and the given text."""
        return page(runs, self.sampling, self._text(symbols_of(runs[0].record)))

    def _text(self, symbols: Symbols) -> tuple[str, Tensor] | None:
        """The title and the ids of the given text."""
        return None if self.text is None else given_text(self.text, symbols)
