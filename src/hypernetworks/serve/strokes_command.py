"""The command `hypernetworks strokes serve`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
from tyro.conf import OmitArgPrefixes, Positional

from hypernetworks.errors import FaultError
from hypernetworks.serve.address import Address
from hypernetworks.serve.limits import DrawingLimits
from hypernetworks.strokes.experiment import load_run
from hypernetworks.training.device import find_device


@dataclass(frozen=True)
class Serve:
    """Serve a page on which a model finishes drawings that the user begins, and a JSON API. Stop it with Ctrl-C.

    Anyone who can reach the port can ask for drawings: the server listens on this machine only, unless --host says otherwise,
    and uses plain HTTP.
    """

    run: Positional[Path]
    """The run's folder."""
    address: Annotated[Address, OmitArgPrefixes] = field(default_factory=Address)
    limits: Annotated[DrawingLimits, OmitArgPrefixes] = field(default_factory=DrawingLimits)
    device: str = "auto"
    """cpu, cuda, …; auto uses CUDA if available."""

    def __call__(self) -> None:
        """Load the run and serve until the process is stopped.

        Raises:
            UsageError: a setting is wrong, or the folder has no run.
            FaultError: the extra `serve` is not installed, or the address cannot be listened on.
        """
        try:
            from hypernetworks.serve import strokes_api
        except ImportError as error:
            raise FaultError(
                f"strokes serve requires {error.name}, which is not installed: pip install 'hypernetworks[serve]'"
            ) from error
        names = self.address.names()
        model, _, record = load_run(self.run)
        artist = strokes_api.Artist(
            self.run.resolve().name,
            model.to(find_device(self.device)),
            record["scale"],
            record["size"],
            record["attribution"],
        )
        torch.set_num_threads(1)  # a product of one row is too small for more
        app = strokes_api.make_app(artist, self.limits, names, self.address.secret)
        self.address.serve(app, self.limits, artist.warm_up)
