"""The command `hypernetworks text export`: the best model of a run as a file for other programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from hypernetworks.files import write_whole
from hypernetworks.text.experiment import load_run
from hypernetworks.text.export import state_names, to_onnx, to_torch

__all__ = ["Export"]

SUFFIX = {"onnx": ".onnx", "torch": ".pt2"}


@dataclass(frozen=True)
class Export:
    """Write the best model of a run as one file that runs without this package: ONNX, or a program of torch.export.

    The program reads ids and a state, and returns logits and the new state, with any number of steps and streams.
    """

    run: Positional[Path]
    """The run's folder."""
    to: Literal["onnx", "torch"] = "onnx"
    """onnx: for onnxruntime and others. torch: for torch.export.load."""
    out: Path | None = None
    """The file; default: model.onnx or model.pt2 in the run's folder."""

    def __call__(self) -> None:
        """Write the file, and print its path and what goes in and comes out."""
        model, _, symbols = load_run(self.run)
        out = self.out or self.run / f"model{SUFFIX[self.to]}"
        content = (to_onnx if self.to == "onnx" else to_torch)(model, symbols)
        write_whole(out, content)
        names = state_names(model)
        print(f"export: {out} ({len(content) / 1e6:.1f} MB)")
        print(f"(ids, {', '.join(names)}) -> (logits, {', '.join(f'new_{name}' for name in names)})")
