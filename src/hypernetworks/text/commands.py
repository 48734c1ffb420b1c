"""The commands of `hypernetworks text`: what each is told, and what it does with the parts of this package."""

import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from rich.console import Console
from torch import Tensor
from tyro.conf import OmitArgPrefixes, Positional

from hypernetworks.errors import UsageError
from hypernetworks.experiments.commands import (
    find_preset,
    goes_on_with,
    origin,
    read_config,
    scan,
    tell_other_surroundings,
)
from hypernetworks.experiments.config import find_device
from hypernetworks.files import read_whole, write_whole
from hypernetworks.processes import first_before_others, tell, together
from hypernetworks.runs.run import Run
from hypernetworks.text.alphabet import decode, encode, text_of_bytes
from hypernetworks.text.compare import compare, matched, plot, table
from hypernetworks.text.config import Symbols, TextConfig, read_run_config, settled
from hypernetworks.text.corpus import Corpus, load_corpus
from hypernetworks.text.evaluate import evaluate
from hypernetworks.text.generate import Sampling, generate
from hypernetworks.text.model import Network, count_parameters
from hypernetworks.text.presets import PRESETS
from hypernetworks.text.report import load, page
from hypernetworks.text.stepper import Weights
from hypernetworks.text.train import check_same_text, corpus_of, load_run, resume, sample, train


@dataclass(frozen=True)
class Train:
    """Train a character model on a text; the run folder holds the best model, the metrics, a curve and a sample."""

    preset: str = "default"
    """Settings that go together: default, demo, tiny-shakespeare, shakespeare, paper-penn-treebank, paper-enwik8."""
    settings: Annotated[TextConfig, OmitArgPrefixes] = field(default_factory=TextConfig)
    out: Path = Path("runs/text")
    """The run's folder."""
    config: Path | None = None
    """Do the run of this config.json again: its settings, on the same data."""
    resume: bool = False
    """Go on with the run in --out, with its own settings."""
    data_dir: Path | None = None
    """Where data sets are looked for first, and put when fetched."""

    @classmethod
    def defaults(cls, arguments: Sequence[str]) -> "Train":
        """What the flags change: the preset's settings, those of --config, or with --resume the run's own."""
        flags = scan(arguments)
        settings = origin(flags, _settings, cls.out, lambda: find_preset(PRESETS, flags.preset or cls.preset))
        return cls(settings=settings, config=flags.config)

    def __call__(self) -> None:
        """Train, or go on; tell what came of it."""
        with together(self.settings.device):
            with first_before_others():  # it may have to be fetched
                corpus = load_corpus(self.settings.corpus, self.data_dir)
            self._train(corpus, settled(self.settings, corpus))

    def _train(self, corpus: Corpus, settings: TextConfig) -> None:
        resumed = goes_on_with(self.out, self.resume, _settings, settings)
        if self.config is not None:
            _check_done_again(self.config, settings, corpus)
        label = self.settings.model.network
        count = count_parameters(self.settings.model, len(corpus.alphabet))
        sizes = ", ".join(f"{name} {size:,}" for name, size in corpus.sizes.items())
        tell(f"{corpus.name}: {sizes} {corpus.unit}s, {len(corpus.alphabet)} symbols; {label} of {count:,} parameters")
        run = resume(self.out, corpus, label) if resumed else train(self.out, settings, corpus, label)
        _tell(run)


def _check_done_again(path: Path, settings: TextConfig, corpus: Corpus) -> None:
    """UsageError where the text is another by now; a line where versions or machine are others."""
    config = read_config(path)
    recorded, _, sha256 = read_run_config(config, str(path))
    if settings.corpus == recorded.corpus:  # else --corpus asked for another
        check_same_text(path, corpus, sha256)
    tell_other_surroundings(config, path)


def _settings(config: Mapping[str, Any], place: str) -> TextConfig:
    return read_run_config(config, place)[0]


def _tell(run: Run) -> None:
    _, metadata = run.best_model()
    nats = float(metadata["score"])
    tell(
        f"best validation at step {metadata['step']}: {nats:.4f} nats, {nats / math.log(2):.4f} bits per character",
        (run.folder / "samples.txt").read_text(encoding="utf-8"),
        f"run: {run.folder}",
    )


@dataclass(frozen=True)
class Evaluate:
    """Score a run's best model on a split, or on another text: one stream, every character but the first predicted once."""

    run: Positional[Path]
    """The run's folder."""
    split: str = "validation"
    """train, validation or test of the run's corpus."""
    text: str | None = None
    """Score the whole of this corpus or path instead."""
    characters: int = 0
    """Only the first so many characters; 0: all."""
    weights: Weights = "float32"
    """How the weights are stored. bfloat16 and int8 read the text step by step, to show what generation loses with them."""
    device: str = "auto"
    """cpu, cuda, …; auto takes cuda where there is one."""
    data_dir: Path | None = None
    """Where data sets are looked for first, and put when fetched."""

    def __call__(self) -> None:
        """Print nats and bits per character."""
        if self.split not in ("train", "validation", "test"):
            raise UsageError(f"split should be train, validation or test, got {self.split!r}")
        if self.characters < 0:
            raise UsageError(f"characters should be at least 0 (0: all), got {self.characters}")
        model, _, symbols = load_run(self.run)
        if self.text is None:
            corpus, name = corpus_of(self.run, self.data_dir), self.split
            part = getattr(corpus, self.split)
        else:
            corpus, name = load_corpus(self.text, self.data_dir), "whole text"
            part = torch.cat([corpus.train, corpus.validation, corpus.test])
        ids = _translate(part, corpus, symbols)[: self.characters or None]
        score = evaluate(model.to(find_device(self.device)), ids, self.weights)
        print(f"{self.run} on {corpus.name}, {name}: {score.characters:,} {symbols.unit}s predicted, one stream")
        print(f"{score.nats:.4f} nats, {score.bpc:.4f} bits per {symbols.unit}, perplexity {math.exp(score.nats):.3f}")


def _translate(ids: Tensor, corpus: Corpus, symbols: Symbols) -> Tensor:
    """The ids that a model has for what a corpus has other ids for."""
    if corpus.unit == symbols.unit:  # symbol by symbol: a split of bytes may begin or end within a character
        return encode(decode(ids, corpus.alphabet), symbols.alphabet)
    return encode(corpus.decode(ids), symbols.alphabet, symbols.unit)


@dataclass(frozen=True)
class Generate:
    """Make text with a run's best model, character by character as it comes."""

    run: Positional[Path]
    """The run's folder."""
    prompt: str = ""
    """What the text begins with; empty: a new line."""
    sampling: Annotated[Sampling, OmitArgPrefixes] = field(default_factory=Sampling)
    weights: Weights = "float32"
    """How the weights are stored. bfloat16 and int8 are faster and round them; they need the CPU."""
    device: str = "auto"
    """cpu, cuda, …; auto takes cuda where there is one."""

    def __call__(self) -> None:
        """Stream to standard output."""
        model, _, symbols = load_run(self.run)
        pieces = generate(
            model.to(find_device(self.device)),
            symbols.alphabet,
            symbols.unit,
            self.prompt,
            self.sampling,
            self.weights,
        )
        sys.stdout.write(self.prompt)
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
        sys.stdout.write("\n")


@dataclass(frozen=True)
class Report:
    """Write one HTML page of a run: curves, settings, parameters, and text coloured by how much the generated weights change.

    The page needs no network and no other file. Runs named after the first are put beside it.
    """

    runs: Positional[tuple[Path, ...]]
    """The run's folder, then those of runs to compare it with."""
    text: str | None = None
    """A text to colour beside the sample: a UTF-8 file, or the text itself."""
    sampling: Annotated[Sampling, OmitArgPrefixes] = field(default_factory=Sampling)
    out: Path | None = None
    """The page's file; left out: report.html in the run's folder."""
    device: str = "auto"
    """cpu, cuda, …; auto takes cuda where there is one."""

    def __call__(self) -> None:
        """Write the page; tell where it is."""
        if not self.runs:
            raise UsageError("runs should be one or more folders, got none")
        device = find_device(self.device)
        runs = [load(folder, device) for folder in self.runs]
        out = self.out or self.runs[0] / "report.html"
        written = page(runs, self.sampling, self._text(runs[0].symbols))
        write_whole(out, written.encode("utf-8", "replace"))  # a lone surrogate of an alphabet has no UTF-8
        print(f"report: {out}")

    def _text(self, symbols: Symbols) -> tuple[str, Tensor] | None:
        """The title and the ids of the text that was given."""
        if self.text is None:
            return None
        title, text = "The text given", self.text
        if os.path.isfile(self.text):  # noqa: PTH113  # Path.is_file raises where a text is too long for a path
            title = self.text
            text = text_of_bytes(read_whole(Path(title)), Path(title))
        return title, encode(text, symbols.alphabet, symbols.unit)


@dataclass(frozen=True)
class Compare:
    """Train several networks of equal size on the same text, and put what each reaches and costs into one table and one plot.

    --hidden-size, --network and --seed are chosen for each model: give --parameters, --networks and --seeds instead.
    """

    preset: str = "default"
    """Settings that go together: default, demo, tiny-shakespeare, shakespeare, paper-penn-treebank, paper-enwik8."""
    settings: Annotated[TextConfig, OmitArgPrefixes] = field(default_factory=TextConfig)
    networks: tuple[Network, ...] = ("lstm", "layer-norm-lstm", "rhn", "hyper-lstm")
    """Which networks; each gets the hidden_size that brings it within 1 % of --parameters."""
    parameters: int = 250_000
    """How many parameters each model is to have."""
    seeds: tuple[int, ...] = (0,)
    """One run of every network for each."""
    out: Path = Path("runs/compare")
    """Folder of the comparison; each run is a folder in it."""
    resume: bool = False
    """Go on with the comparison in --out: finished runs are kept, an interrupted one goes on."""
    data_dir: Path | None = None
    """Where data sets are looked for first, and put when fetched."""

    @classmethod
    def defaults(cls, arguments: Sequence[str]) -> "Compare":
        """What the flags change: the preset's settings."""
        return cls(settings=find_preset(PRESETS, scan(arguments).preset or cls.preset))

    def __call__(self) -> None:
        """Train all, then show text, table and plot."""
        plain = find_preset(PRESETS, self.preset)
        for flag, given, default in (
            ("--hidden-size", self.settings.model.hidden_size, plain.model.hidden_size),
            ("--network", self.settings.model.network, plain.model.network),
            ("--seed", self.settings.schedule.seed, plain.schedule.seed),
        ):
            if given != default:
                raise UsageError(
                    f"compare chooses {flag} itself, got {given}: give --parameters, --networks or --seeds"
                )
        if not self.networks:
            raise UsageError("networks should be one or more, got none")
        corpus = load_corpus(self.settings.corpus, self.data_dir)
        configs = matched(settled(self.settings, corpus), self.networks, self.parameters, len(corpus.alphabet))
        rows = compare(self.out, configs, self.seeds, corpus, self.resume)
        console = Console()
        for row in rows:
            model, _, symbols = load_run(Path(row.runs[0]))
            console.rule(row.network)
            print(sample(model, symbols, Sampling(length=300)))
        console.print(table(rows))
        try:
            print(f"plot: {plot(self.out, rows, f'{corpus.name}, {self.parameters:,} parameters each')}")
        except ImportError:
            print("no plot: matplotlib is not installed (pip install 'hypernetworks[plot]')")
        print(f"runs, their samples and compare.json: {self.out}")
