"""Training an image network: the experiment that the shared loop drives, its run's beginning, going on, and end."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hypernetworks.errors import UsageError
from hypernetworks.experiments.begin import begun, restored
from hypernetworks.experiments.config import find_device
from hypernetworks.processes import distributed, is_first, parts
from hypernetworks.runs.curve import draw_run
from hypernetworks.runs.run import Run
from hypernetworks.training.draws import generator
from hypernetworks.training.epochs import Epochs
from hypernetworks.training.loop import Task, Trainer, load_best
from hypernetworks.vision.config import VisionConfig, read_run_config, run_config
from hypernetworks.vision.data import ImageData, load_images
from hypernetworks.vision.evaluate import evaluate
from hypernetworks.vision.models import make_model


class ImageTask(Task[nn.Module]):
    """Classification of images in epochs, each time shown a little otherwise."""

    unit = "images"

    def __init__(self, model: nn.Module, config: VisionConfig, data: ImageData) -> None:
        device = next(model.parameters()).device
        self.model, self.network, self.views = model, distributed(model), data.views
        self.parts = parts(config.batch_size, config.schedule.accumulate)
        self.batch_size, self.seed = config.batch_size, config.schedule.seed
        self.train, self.validation = data.train.to(device), data.validation.to(device)
        self.epochs = Epochs(len(data.train), config.batch_size, config.schedule.seed)

    def loss(self, step: int, part: slice) -> tuple[Tensor, int]:
        """Mean −ln p of the labels of these images of the step's batch."""
        device = self.train.labels.device
        chosen = self.epochs.batch(step)[part].to(device)
        images, labels = self.train.images[chosen], self.train.labels[chosen]
        draws = self.views.draw(self.batch_size, images.shape[-1], generator(self.seed, "views", step))
        views = self.views.drawn(images, draws[part].to(device))
        logits = self.network(views).to(views.dtype)  # autocast made them in another
        return F.cross_entropy(logits, labels), len(chosen)

    def validate(self) -> Mapping[str, float]:
        """Loss, and error in per cent, on the validation images."""
        score = evaluate(self.model, self.validation, self.views)
        return {"validation_loss": score.loss, "validation_error": score.error}

    def fields(self, loss: float) -> Mapping[str, str]:
        """The loss in nats."""
        return {"loss": f"{loss:.4f}"}

    def state(self) -> dict[str, Any]:
        """Nothing: the order of images and their views hang on seed and step alone."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Nothing to take back."""


def train(folder: Path, config: VisionConfig, data: ImageData, label: str) -> Run:
    """Train a network in a new run folder."""
    task = _task(config, data)
    with begun(folder, run_config(config, data)) as run:
        return _train(run, config, task, label, None)


def resume(folder: Path, data: ImageData, label: str) -> Run:
    """Go on with a run from its last commit, to the same numbers as if it had never stopped.

    Raises:
        UsageError: the folder is no run of an image network, or the images are not those that it read.
    """
    run = Run.open(folder)
    config, sha256 = read_run_config(run.config, str(folder))
    check_same_images(folder, data, sha256)
    task = _task(config, data)
    with restored(run) as state:
        return _train(run, config, task, label, state)


def _task(config: VisionConfig, data: ImageData) -> ImageTask:
    """The experiment at its beginning. All that can be wrong with settings and data is found here, before a run is made."""
    device = find_device(config.device)
    torch.manual_seed(config.schedule.seed)
    return ImageTask(make_model(config.model).to(device), config, data)


def _train(run: Run, config: VisionConfig, task: ImageTask, label: str, state: Mapping[str, Any] | None) -> Run:
    Trainer(task, config.schedule, run, state).train(label)
    if is_first():
        with suppress(ImportError):  # without matplotlib a run has no picture; `hypernetworks doctor` tells
            draw_run(run)
    return run


def load_run(folder: Path) -> tuple[nn.Module, VisionConfig]:
    """The best network of a run folder and its settings; UsageError where the folder is no such run."""
    run = Run.open(folder)
    config, _ = read_run_config(run.config, str(folder))
    return load_best(make_model(config.model), run), config


def images_of(folder: Path, data_dir: Path | None) -> ImageData:
    """The images that a run reads; UsageError where they are others by now: its splits would not be the run's."""
    config, sha256 = read_run_config(Run.open(folder).config, str(folder))
    data = load_images(config.data, data_dir)
    check_same_images(folder, data, sha256)
    return data


def check_same_images(place: Path, data: ImageData, sha256: str) -> None:
    """UsageError unless these are the images of this sum, which the run at `place` read."""
    if data.sha256 != sha256:
        raise UsageError(f"{place}: the run read other images than {data.name} has now (sha256 {sha256[:12]}…)")
