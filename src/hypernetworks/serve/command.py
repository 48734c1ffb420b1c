"""The command `hypernetworks text serve`."""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import torch
from tyro.conf import OmitArgPrefixes, Positional

from hypernetworks.errors import FaultError, UsageError
from hypernetworks.serve.batch import Batch
from hypernetworks.serve.engine import Engine
from hypernetworks.serve.frozen import with_frozen
from hypernetworks.serve.limits import Limits
from hypernetworks.text.experiment import load_run
from hypernetworks.text.stepper import Weights
from hypernetworks.training.device import find_device

TOKEN = "HYPERNETWORKS_TOKEN"


@dataclass(frozen=True)
class Serve:
    """Serve text from one run, or compare two: a web page and a JSON API. Stop it with Ctrl-C.

    Concurrent requests are batched. On the native path each still gets exactly the text its seed produces alone. Excess
    requests are queued, then rejected with 429. Anyone who can reach the port can generate text: the server listens on
    this machine only, unless --host says otherwise, and uses plain HTTP.
    """

    runs: Positional[tuple[Path, ...]]
    """The folder of a run, or of two runs to compare."""
    host: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0 for all of this machine's, so that other machines can connect."""
    port: int = 8000
    """The port to listen on; 0 chooses a free one."""
    allow_host: tuple[str, ...] = ()
    """Names of the server in addition to its address and localhost, without the port. Requests for other names are refused."""
    root_path: str = ""
    """The path below which a proxy publishes the server, for example /text."""
    token: str = ""
    """The token that requests to the API must carry (Authorization: Bearer TOKEN). Default: $HYPERNETWORKS_TOKEN, or none.
    Other users of this machine may be able to see the command line."""
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
            from hypernetworks.serve import api, server
        except ImportError as error:
            raise FaultError(
                f"text serve requires {error.name}, which is not installed: pip install 'hypernetworks[serve]'"
            ) from error
        if len(self.runs) not in (1, 2):
            raise UsageError(f"serve takes one run or two, got {len(self.runs)}")
        if not 0 <= self.port < 2**16:
            raise UsageError(f"port should be between 0 (any free port) and 65535, got {self.port}")
        names = server.names(self.host, self.allow_host)
        if self.root_path and not self.root_path.startswith("/"):
            raise UsageError(f"root_path should start with /, got {self.root_path!r}")
        engine = Engine(self._batches(), self.limits.rows, self.limits.queue)
        # One thread per step: products of a few rows are too small for more, and another core sends the responses.
        torch.set_num_threads(1)
        token = self.token or os.environ.get(TOKEN) or None
        app = api.make_app(engine, self.limits, names, token)
        with server.listen(self.host, self.port) as listening:
            bound, port = listening.getsockname()[:2]
            if token is None and not ip_address(bound).is_loopback:
                print(f"anyone who can reach port {port} can use this server: set --token or ${TOKEN}", file=sys.stderr)
            for batch in engine.batches.values():
                batch.warm_up()  # kernels are built now, not when the first text is asked for
            print(server.greeting(self.host, port, self.allow_host), flush=True)
            with suppress(KeyboardInterrupt):  # uvicorn raises it again after everything has stopped
                server.make_server(app, engine, self.limits, self.root_path).run(sockets=[listening])

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
