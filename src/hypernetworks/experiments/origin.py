"""The origin of a run: another run, whose best model its model starts with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from hypernetworks.errors import UsageError
from hypernetworks.runs.checkpoint import model_digest
from hypernetworks.runs.run import Run

__all__ = ["ORIGIN", "Origin"]

ORIGIN = "origin"
"""The entry of `config.json`."""


@dataclass(frozen=True)
class Origin:
    """A run, and the checksum of its best model when another run started with it."""

    run: str
    """The absolute path of its folder."""
    sha256: str

    @classmethod
    def of(cls, folder: Path) -> Self:
        """The run in `folder`; UsageError if it holds none, or no model yet."""
        return cls(str(folder.resolve()), model_digest(Run.open(folder).best_model()[0], {}))

    @classmethod
    def recorded(cls, config: Mapping[str, Any], place: str) -> Self | None:
        """What a `config.json` says; None if the run started with random weights.

        Raises:
            UsageError: the entry is invalid.
        """
        match config.get(ORIGIN):
            case None:
                return None
            case {"run": str(run), "sha256": str(sha256)}:
                return cls(run, sha256)
        raise UsageError(f"{place}: config.json has no valid {ORIGIN}")

    def weights(self) -> dict[str, Tensor]:
        """The weights, on the CPU.

        Raises:
            UsageError: the run is not there, or its best model has changed since.
        """
        tensors, metadata = Run.open(Path(self.run)).best_model()
        if model_digest(tensors, {}) != self.sha256:
            raise UsageError(
                f"{self.run}: its best model is now that of step {metadata['step']}, no longer the one that the run started "
                "with: start a new run with --init-from"
            )
        return tensors
