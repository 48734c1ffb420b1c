"""The metrics of a run as a TensorBoard log (the extra `tensorboard`), written while it is trained."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypernetworks.errors import UsageError

__all__ = ["TensorBoard"]


class TensorBoard:
    """Writes each row of the metrics to the folder `tensorboard` of a run, one curve for each figure.

    A resumed run replaces the points after its last commit.

    Raises:
        UsageError: tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UsageError("--log tensorboard needs TensorBoard: pip install 'hypernetworks[tensorboard]'") from error
        self._folder, self._make, self._writer = folder / "tensorboard", SummaryWriter, None

    def __call__(self, row: Mapping[str, Any]) -> None:
        """Write a row."""
        if self._writer is None:  # not earlier: the folder of a new run must be empty
            self._writer = self._make(str(self._folder), purge_step=row["step"])
        for name, value in row.items():
            if name != "step":
                self._writer.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Write what is left to disk."""
        if self._writer is not None:
            self._writer.close()
