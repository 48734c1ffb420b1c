"""The command `hypernetworks text serve`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
from tyro.conf import OmitArgPrefixes, Positional

from hypernetworks.errors import FaultError, UsageError
from hypernetworks.serve.address import Address
from hypernetworks.serve.batch import Batch
from hypernetworks.serve.engine import Engine
from hypernetworks.serve.frozen import with_frozen
from hypernetworks.serve.limits import Limits
from hypernetworks.text.experiment import load_run
from hypernetworks.text.stepper import Weights
from hypernetworks.training.device import find_device


@dataclass(frozen=True)
class Serve:
    """Serve text from one run, or compare two: a web page and a JSON API. Stop it with Ctrl-C.

    Concurrent requests are batched. On the native path each still gets exactly the text its seed produces alone. Excess
    requests are queued, then rejected with 429. Anyone who can reach the port can generate text: the server listens on
    this machine only, unless --host says otherwise, and uses plain HTTP.
    """

    runs: Positional[tuple[Path, ...]]
    """The folder of a run, or of two runs to compare."""
    address: Annotated[Address, OmitArgPrefixes] = field(default_factory=Address)
    limits: Annotated[Limits, OmitArgPrefixes] = field(default_factory=Limits)
    weights: Weights = "float32"
    """How the weights are stored: float32, or bfloat16 or int8, which are faster on the CPU but round them."""
    device: str = "auto"
    """cpu, cuda, …; auto uses CUDA if available."""

    def __call__(self) -> None:
        """Load the runs and serve until the process is stopped.

        Raises:
            UsageError: a setting is wrong, or a folder has no run.
            FaultError: the extra `serve` is not installed, or the address cannot be listened on.
        """
        try:
            from hypernetworks.serve import api
        except ImportError as error:
            raise FaultError(
                f"text serve requires {error.name}, which is not installed: pip install 'hypernetworks[serve]'"
            ) from error
        if len(self.runs) not in (1, 2):
            raise UsageError(f"serve takes one run or two, got {len(self.runs)}")
        names = self.address.names()
        engine = Engine(self._batches(), self.limits.rows, self.limits.queue)
        # One thread per step: products of a few rows are too small for more, and another core sends the responses.
        torch.set_num_threads(1)
        app = api.make_app(engine, self.limits, names, self.address.secret)

        def warm_up() -> None:
            for batch in engine.batches.values():
                batch.warm_up()

        self.address.serve(app, self.limits, warm_up, engine.stop)

    def _batches(self) -> dict[str, Batch]:
        """The models by the names of their folders, or by the given paths if these are equal, and frozen ones."""
        if len(set(self.runs)) < len(self.runs):
            raise UsageError(f"the two runs should differ, got {self.runs[0]} twice")
        names = [folder.resolve().name for folder in self.runs]
        if len(set(names)) < len(names):
            names = [str(folder) for folder in self.runs]
        device = find_device(self.device)
        batches: dict[str, Batch] = {}
        for name, folder in zip(names, self.runs, strict=True):
            model, _, symbols = load_run(folder)
            batches |= with_frozen(name, Batch(model.to(device), symbols, self.weights), self.weights)
        return batches
