"""Where a server listens, which names it answers to, and the token it asks for: what all servers have in common."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from hypernetworks.errors import UsageError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from hypernetworks.serve.server import TimeLimits

__all__ = ["TOKEN", "Address"]

TOKEN = "HYPERNETWORKS_TOKEN"


@dataclass(frozen=True)
class Address:
    """The address of a server.

    Raises:
        UsageError: a setting is invalid.
    """

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

    def __post_init__(self) -> None:
        if not 0 <= self.port < 2**16:
            raise UsageError(f"port should be between 0 (any free port) and 65535, got {self.port}")
        if self.root_path and not self.root_path.startswith("/"):
            raise UsageError(f"root_path should start with /, got {self.root_path!r}")

    @property
    def secret(self) -> str | None:
        """The token that requests must carry; None: none."""
        return self.token or os.environ.get(TOKEN) or None

    def names(self) -> list[str]:
        """The names that the server answers to; UsageError if one is no host name."""
        from hypernetworks.serve import server

        return server.names(self.host, self.allow_host)

    def serve(
        self, app: "FastAPI", limits: "TimeLimits", warm_up: Callable[[], None], stop: Callable[[], None] = lambda: None
    ) -> None:
        """Serve an application until the process is stopped.

        Args:
            app: the application.
            limits: time limits of requests.
            warm_up: called before the address is printed, so that kernels are built now and not at the first request.
            stop: called at the shutdown, before the server waits for open responses.

        Raises:
            FaultError: the address cannot be listened on.
        """
        from hypernetworks.serve import server

        with server.listen(self.host, self.port) as listening:
            bound, port = listening.getsockname()[:2]
            if self.secret is None and not ip_address(bound).is_loopback:
                print(f"anyone who can reach port {port} can use this server: set --token or ${TOKEN}", file=sys.stderr)
            warm_up()
            print(server.greeting(self.host, port, self.allow_host), flush=True)
            with suppress(KeyboardInterrupt):  # uvicorn raises it again after everything has stopped
                server.make_server(app, stop, limits, self.root_path).run(sockets=[listening])
