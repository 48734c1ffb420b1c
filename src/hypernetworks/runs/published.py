"""A run as others get it: what is needed to load and to judge its model, not to resume it.

    config.json         as given: without the machine, and without the folders of its data
    metrics.jsonl       the losses
    model.safetensors   the weights

`Run.open` reads it like any other run.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hypernetworks.files import write_whole
from hypernetworks.runs.checkpoint import save_model
from hypernetworks.runs.run import config_bytes

__all__ = ["write_published"]


def write_published(
    folder: Path,
    config: Mapping[str, Any],
    model: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    metrics: Iterable[Mapping[str, Any]] | None,
) -> None:
    """Write the files of a run that is published.

    Args:
        folder: an existing folder.
        config: the content of its config.json.
        model: the weights.
        metadata: stored with the weights, as by `Run`: the step and the score.
        metrics: the rows of its metrics; None: no file is written, because they are not those of these weights.

    Raises:
        FaultError: a file could not be written.
    """
    data = config_bytes(config)
    write_whole(folder / "config.json", data)
    if metrics is not None:
        write_whole(folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in metrics).encode())
    save_model(folder / "model.safetensors", model, {**metadata, "config_sha256": hashlib.sha256(data).hexdigest()})
