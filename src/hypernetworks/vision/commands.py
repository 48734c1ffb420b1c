"""The commands of `hypernetworks vision`: what each is told, and what it does with the parts of this package."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
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
from hypernetworks.experiments.config import carried, find_device
from hypernetworks.processes import first_before_others, tell, together
from hypernetworks.vision.compare import compare, plot, table
from hypernetworks.vision.config import VisionConfig, read_run_config
from hypernetworks.vision.data import ImageData, load_images
from hypernetworks.vision.evaluate import Score, evaluate
from hypernetworks.vision.models import Kernels, count_parameters
from hypernetworks.vision.presets import PRESETS
from hypernetworks.vision.train import check_same_images, images_of, load_run, resume, train


def _preset(name: str, kernels: str) -> VisionConfig:
    variants = find_preset(PRESETS, name)
    for known, config in variants.items():
        if known == kernels:
            return config
    raise UsageError(f"kernels should be {' or '.join(variants)}, got {kernels!r}")


def _told(data: ImageData) -> str:
    return f"{data.name}: " + ", ".join(f"{split} {size:,}" for split, size in data.sizes.items()) + " images"


def _percent(score: Score) -> str:
    return f"{score.error:.2f} % error ({score.wrong:,} of {score.images:,} images), loss {score.loss:.4f}"


@dataclass(frozen=True)
class Train:
    """Train an image network, its kernels learned or generated; the run folder holds the best model, metrics and a curve."""

    preset: str = "mnist"
    """Settings that go together: mnist, cifar10, mnist-paper, wrn-40-1-paper, wrn-40-2-paper."""
    settings: Annotated[VisionConfig, OmitArgPrefixes] = field(default_factory=VisionConfig)
    out: Path = Path("runs/vision")
    """The run's folder."""
    config: Path | None = None
    """Do the run of this config.json again: its settings, on the same data."""
    resume: bool = False
    """Go on with the run in --out, with its own settings."""
    data_dir: Path | None = None
    """Where data sets are looked for first, and put when fetched."""

    @classmethod
    def defaults(cls, arguments: Sequence[str]) -> "Train":
        """What the flags change: the preset's settings for these kernels, those of --config, or with --resume the run's own."""
        flags = scan(arguments)
        settings = origin(
            flags, _settings, cls.out, lambda: _preset(flags.preset or cls.preset, flags.kernels or "plain")
        )
        return cls(settings=settings, config=flags.config)

    def __call__(self) -> None:
        """Train, or go on; tell what came of it."""
        with together(self.settings.device):
            with first_before_others():  # they may have to be fetched
                data = load_images(self.settings.data, self.data_dir)
            self._train(data)

    def _train(self, data: ImageData) -> None:
        resumed = goes_on_with(self.out, self.resume, _settings, self.settings)
        if self.config is not None:
            _check_done_again(self.config, self.settings, data)
        model = self.settings.model
        label = f"{model.network}, {model.kernels} kernels"
        tell(f"{_told(data)}; {label}, {count_parameters(model):,} parameters")
        run = resume(self.out, data, label) if resumed else train(self.out, self.settings, data, label)
        _, metadata = run.best_model()
        device = find_device(self.settings.device)
        best = load_run(run.folder)[0].to(device)
        score = evaluate(best, data.validation.to(device), data.views)
        tell(f"best validation at step {metadata['step']}: {_percent(score)}", f"run: {run.folder}")


def _check_done_again(path: Path, settings: VisionConfig, data: ImageData) -> None:
    """UsageError where the images are others by now; a line where versions or machine are others."""
    config = read_config(path)
    recorded, sha256 = read_run_config(config, str(path))
    if settings.data == recorded.data:  # else --data asked for others
        check_same_images(path, data, sha256)
    tell_other_surroundings(config, path)


def _settings(config: Mapping[str, Any], place: str) -> VisionConfig:
    return read_run_config(config, place)[0]


@dataclass(frozen=True)
class Evaluate:
    """Score a run's best model on a split of its images."""

    run: Positional[Path]
    """The run's folder."""
    split: str = "test"
    """train, validation or test."""
    device: str = "auto"
    """cpu, cuda, …; auto takes cuda where there is one."""
    data_dir: Path | None = None
    """Where data sets are looked for first, and put when fetched."""

    def __call__(self) -> None:
        """Print the error in per cent, and the loss."""
        if self.split not in ("train", "validation", "test"):
            raise UsageError(f"split should be train, validation or test, got {self.split!r}")
        model, _ = load_run(self.run)
        data, device = images_of(self.run, self.data_dir), find_device(self.device)
        score = evaluate(model.to(device), getattr(data, self.split).to(device), data.views)
        print(f"{self.run} on {data.name}, {self.split}: {_percent(score)}")


@dataclass(frozen=True)
class Compare:
    """Train plain and generated kernels on the same images: one table of what each reaches and costs, and two pictures.

    A flag that differs from the preset's plain setting changes both. --kernels and --seed are chosen for each model: give
    --seeds.
    """

    preset: str = "mnist"
    """Settings that go together: mnist, cifar10, mnist-paper, wrn-40-1-paper, wrn-40-2-paper."""
    settings: Annotated[VisionConfig, OmitArgPrefixes] = field(default_factory=VisionConfig)
    seeds: tuple[int, ...] = (0,)
    """One run of both for each."""
    out: Path = Path("runs/vision-compare")
    """Folder of the comparison; each run is a folder in it."""
    resume: bool = False
    """Go on with the comparison in --out: finished runs are kept, an interrupted one goes on."""
    data_dir: Path | None = None
    """Where data sets are looked for first, and put when fetched."""

    @classmethod
    def defaults(cls, arguments: Sequence[str]) -> "Compare":
        """What the flags change: the preset's settings for plain kernels."""
        return cls(settings=_preset(scan(arguments).preset or cls.preset, "plain"))

    def __call__(self) -> None:
        """Train all, then show table and pictures."""
        variants = find_preset(PRESETS, self.preset)
        plain = variants["plain"]
        for flag, given, default in (
            ("--kernels", self.settings.model.kernels, plain.model.kernels),
            ("--seed", self.settings.schedule.seed, plain.schedule.seed),
        ):
            if given != default:
                raise UsageError(f"compare chooses {flag} itself, got {given}: give --seeds, or train one model alone")
        configs: dict[Kernels, VisionConfig] = {
            kernels: carried(plain, self.settings, config) for kernels, config in variants.items()
        }
        data = load_images(self.settings.data, self.data_dir)
        print(_told(data))
        rows = compare(self.out, configs, self.seeds, data, self.resume)
        Console().print(table(rows))
        try:
            for path in plot(self.out, rows, data.name):
                print(f"picture: {path}")
        except ImportError:
            print("no picture: matplotlib is not installed (pip install 'hypernetworks[plot]')")
        print(f"runs and compare.json: {self.out}")
