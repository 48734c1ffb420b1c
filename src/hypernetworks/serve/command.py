"""The command `hypernetworks text serve`."""

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
from tyro.conf import OmitArgPrefixes, Positional

from hypernetworks.errors import FaultError, UsageError
from hypernetworks.experiments.config import find_device
from hypernetworks.serve.batch import Batch
from hypernetworks.serve.engine import Engine
from hypernetworks.serve.limits import Limits
from hypernetworks.text.stepper import Weights
from hypernetworks.text.train import load_run

TOKEN = "HYPERNETWORKS_TOKEN"


@dataclass(frozen=True)
class Serve:
    """Serve text from one run, or two side by side: a page for the browser, and a JSON API. Stops at Ctrl-C.

    Who can reach the port can have text made: the server is bound to this machine alone unless --host says otherwise, and
    speaks plain HTTP.
    """

    runs: Positional[tuple[Path, ...]]
    """The folder of a run, or of two to be seen side by side."""
    host: str = "127.0.0.1"
    """The address to listen at."""
    port: int = 8000
    """The port to listen at; 0: any that is free."""
    allow_host: tuple[str, ...] = ()
    """Names that the server is called by besides its address and localhost; requests to others are refused."""
    token: str = ""
    """What requests to the API have to bear (Authorization: Bearer TOKEN); empty: $HYPERNETWORKS_TOKEN, or nothing. Others on
    this machine may see what stands in a command line."""
    limits: Annotated[Limits, OmitArgPrefixes] = field(default_factory=Limits)
    weights: Weights = "float32"
    """How the weights are stored. bfloat16 and int8 are faster and round them; they need the CPU."""
    device: str = "auto"
    """cpu, cuda, …; auto takes cuda where there is one."""

    def __call__(self) -> None:
        """Load the runs and serve until told to stop."""
        try:
            from hypernetworks.serve import api, server
        except ImportError as error:
            raise FaultError(
                f"text serve needs {error.name}, which is not installed: pip install 'hypernetworks[serve]'"
            ) from error
        if len(self.runs) not in (1, 2):
            raise UsageError(f"serve takes one run or two, got {len(self.runs)}")
        if not 0 <= self.port < 2**16:
            raise UsageError(f"port should lie between 0 (any that is free) and 65535, got {self.port}")
        engine = Engine(self._batches(), self.limits.rows, self.limits.queue)
        # One thread for all products of a step: those of a few rows are too small for more, and the other core sends.
        torch.set_num_threads(1)
        token = self.token or os.environ.get(TOKEN) or None
        app = api.make_app(engine, self.limits, server.names(self.host, self.allow_host), token)
        with server.listen(self.host, self.port) as listening:
            address = f"[{self.host}]" if ":" in self.host else self.host
            print(f"http://{address}:{listening.getsockname()[1]}  (the API: /docs; Ctrl-C stops)", flush=True)
            with suppress(KeyboardInterrupt):  # which uvicorn raises again once all is stopped
                server.make_server(app, engine, self.limits.patience).run(sockets=[listening])

    def _batches(self) -> dict[str, Batch]:
        """The models, by the names of their folders, or by the paths as given where the names are the same."""
        if len(set(self.runs)) < len(self.runs):
            raise UsageError(f"the two runs should differ, got {self.runs[0]} twice")
        names = [folder.resolve().name for folder in self.runs]
        if len(set(names)) < len(names):
            names = [str(folder) for folder in self.runs]
        device = find_device(self.device)
        batches = {}
        for name, folder in zip(names, self.runs, strict=True):
            model, _, symbols = load_run(folder)
            batches[name] = Batch(model.to(device), symbols, self.weights)
        return batches
