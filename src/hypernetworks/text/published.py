"""A trained text model as a folder for others: its run, without the trainer's state, the machine and the folders of the text.

`hn.load` and the commands read it like any other run. With it goes a model card, text/card.py.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from hypernetworks.files import check_empty, make_folder
from hypernetworks.runs.checkpoint import model_digest
from hypernetworks.runs.published import write_published
from hypernetworks.runs.run import Run
from hypernetworks.text.config import TextConfig
from hypernetworks.text.data_sets import NAMED_SETS
from hypernetworks.text.experiment import TEXT
from hypernetworks.text.model import CharacterModel

__all__ = ["Published", "new_folder", "published"]


@dataclass(frozen=True)
class Published:
    """What is published of a run."""

    config: TextConfig
    """Its settings. Instead of the path of an own text they have ./ and the name."""
    record: Mapping[str, Any]
    """The description of its text. Instead of the files that were read, its source is that name."""
    versions: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    """The step of the run's best model, and its score unless the weights were changed since."""
    metrics: list[dict[str, Any]] | None
    """The losses of the run; None if the weights were changed since."""

    @property
    def step(self) -> int:
        """The step of the run's best model."""
        return int(self.metadata["step"])

    @property
    def validation(self) -> float | None:
        """The loss on the validation split, in nats; None if the weights were changed since."""
        return float(self.metadata["score"]) if "score" in self.metadata else None

    @property
    def validation_bpc(self) -> float | None:
        """The same in bits per character, or per byte; None if it is not known."""
        if self.validation is None:
            return None
        if self.record["unit"] != "word":
            return self.validation / math.log(2)
        rows = [row for row in self.metrics or () if row.get("step") == self.step and "validation_bpc" in row]
        return rows[-1]["validation_bpc"] if rows else None

    def write(self, folder: Path) -> None:
        """Write all files but the card into a folder; FaultError if one cannot be written."""
        config = {
            "experiment": TEXT.name,
            "format": TEXT.format,
            "settings": asdict(self.config),
            TEXT.data_key: self.record,
            "versions": self.versions,
        }
        write_published(folder, config, self.weights, self.metadata, self.metrics)


def published(model: CharacterModel, folder: Path) -> Published:
    """What to publish of a model and the run that it was loaded from.

    Raises:
        UsageError: the run is no longer there, or a file of it is damaged.
    """
    run = Run.open(folder)
    config, record = TEXT.read_config(run.config, str(folder))
    best, metadata = run.best_model()
    weights = model.state_dict()
    own = ("step", "score") if model_digest(weights, {}) == model_digest(best, {}) else ("step",)
    metadata = {name: metadata[name] for name in own if name in metadata}  # a published run may lack the score
    text = config.corpus if config.corpus in NAMED_SETS else f"./{Path(config.corpus).name}"
    return Published(
        replace(config, corpus=text),
        {**record, "source": text},
        run.config.get("versions", {}),
        weights,
        metadata,
        run.metrics() if "score" in metadata else None,
    )


def new_folder(folder: Path) -> None:
    """Make a folder if there is none.

    Raises:
        UsageError: it holds something, which is not replaced.
        FaultError: it could not be made.
    """
    make_folder(folder)
    check_empty(folder, "give a new or empty folder")
