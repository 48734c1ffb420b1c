"""What each of the processes does that test_processes.py starts by torchrun: `two_processes.py JOB FOLDER`."""

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hypernetworks import cli
from hypernetworks.errors import Terminated, UsageError
from hypernetworks.processes import process_group, rank
from hypernetworks.text.config import TextConfig
from hypernetworks.text.corpus import Corpus, load_corpus
from hypernetworks.text.experiment import TEXT
from hypernetworks.text.model import CharacterModelConfig
from hypernetworks.text.task import CharacterTask
from hypernetworks.training.schedule import Schedule
from hypernetworks.vision import evaluate as scoring
from hypernetworks.vision.config import VisionConfig
from hypernetworks.vision.data import ImageData, Images
from hypernetworks.vision.experiment import VISION
from hypernetworks.vision.models import make_model
from hypernetworks.vision.views import Views

train, resume, train_images = TEXT.train, TEXT.resume, VISION.train

# With dropout of both kinds: each process has random numbers of its own.
DROPPING = [
    *("--hidden-size", "8", "--embedding-size", "5", "--hyper-size", "4", "--hyper-embedding-size", "2"),
    *("--dropout", "0.1", "--recurrent-dropout", "0.1", "--reset-probability", "0.3", "--batch-size", "4"),
    *("--length", "7", "--steps", "8", "--warmup", "1", "--evaluate-every", "3", "--log-every", "1"),
    *("--accumulate", "2", "--device", "cpu"),
]


def toy(folder: Path) -> Corpus:
    path = folder / "toy.txt"
    if not path.exists():
        path.write_text("".join(f"{n} is {n * n}, and its half {n / 2}: so it stands.\n" for n in range(60)))
    return load_corpus(str(path))


def text_config(corpus: Corpus) -> TextConfig:
    """Fifty steps of a HyperLSTM of two layers, without dropout; streams are reset, the gradient is clipped."""
    sizes = CharacterModelConfig(hidden_size=8, num_layers=2, embedding_size=5, hyper_size=4, hyper_embedding_size=2)
    schedule = Schedule(steps=50, warmup=5, learning_rate=0.02, evaluate_every=25, log_every=1, clip=0.5)
    return TextConfig(corpus.source, sizes, schedule, batch_size=4, length=7, reset_probability=0.3, device="cpu")


def digits() -> ImageData:
    """Noise, each class brighter in a row of its own."""
    made = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 10
    pictures = torch.randint(60, (60, 1, 28, 28), generator=made, dtype=torch.uint8)
    pictures[torch.arange(60), :, 2 * labels + 4] = 255
    images = Images(pictures, labels)
    train, validation, test = images.part(0, 40), images.part(40, 57), images.part(57, 60)
    return ImageData("mnist", train, validation, test, Views((0.13,), (0.31,), enlarge_to=30), "noise", "0" * 64)


def digits_config() -> VisionConfig:
    schedule = Schedule(steps=8, warmup=2, evaluate_every=4, log_every=1, clip=0.5)
    return VisionConfig(schedule=schedule, batch_size=8, device="cpu")


def score() -> list[float]:
    """Of a new net on 17 images, in chunks of 3; none of its sums are round."""
    torch.manual_seed(0)
    scoring.CHUNK = 3
    found = scoring.evaluate(make_model("conv", digits_config().model), digits().validation, digits().views)
    return [found.loss, found.wrong, found.images]


def without_pictures() -> None:
    """They would cost more than all the rest of a run."""
    import_module("hypernetworks.experiments.experiment").draw_run = lambda run: None


def before_step(step: int, act: Callable[[], None]) -> None:
    """Do something in process 1 when it is to take the step of this number (from 0)."""
    loss = CharacterTask.loss

    def acting(self: CharacterTask, at: int, part: slice) -> tuple[Tensor, int]:
        if at == step and rank() == 1:
            act()
        return loss(self, at, part)

    CharacterTask.loss = acting


def in_one_group(folder: Path) -> None:
    """Both experiments in float64; a score; SIGTERM to the second process alone; a batch that cannot be shared."""
    corpus, results = toy(folder), dict[str, Any]()
    config = text_config(corpus)
    with process_group("cpu"):
        results["score"] = score()
        torch.set_default_dtype(torch.float64)
        train(folder / "text", config, corpus, "text")
        train_images(folder / "digits", digits_config(), digits(), "digits")
        try:
            train(folder / "odd", replace(config, batch_size=5), corpus, "odd")
        except UsageError as error:
            results["odd"] = str(error)
        loss = CharacterTask.loss
        before_step(30, lambda: os.kill(os.getpid(), signal.SIGTERM))
        try:
            train(folder / "terminated", config, corpus, "terminated")
        except Terminated:
            results["terminated"] = "at once in both"
        CharacterTask.loss = loss
        resume(folder / "terminated", corpus, "terminated")
        (folder / f"results{rank()}.json").write_text(json.dumps(results))


def by_command(folder: Path, name: str) -> int:
    return cli.main(["text", "train", "--corpus", str(folder / "toy.txt"), *DROPPING, "--out", str(folder / name)])


def killed(folder: Path) -> int:
    """Process 1 is killed in the middle of the step 6, and of the step 8 when it was started again."""
    lives = os.environ["TORCHELASTIC_RESTART_COUNT"]
    if lives in "01":
        before_step(5 if lives == "0" else 7, lambda: os.kill(os.getpid(), signal.SIGKILL))
    return by_command(folder, "killed")


JOBS: dict[str, Callable[[Path], int | None]] = {
    "in_one_group": in_one_group,
    "undisturbed": lambda folder: by_command(folder, "undisturbed"),
    "killed": killed,
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    without_pictures()
    sys.exit(JOBS[sys.argv[1]](Path(sys.argv[2])))
