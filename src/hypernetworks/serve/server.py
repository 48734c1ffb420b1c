"""Run the application with uvicorn: the socket, the signals, and a shutdown that ends every open stream."""

import socket
from collections.abc import Sequence

import uvicorn
from fastapi import FastAPI

from hypernetworks.errors import FaultError
from hypernetworks.serve.engine import Engine
from hypernetworks.serve.guard import Patience

LAST_WORDS = 5
"""Seconds that open streams may take to end at shutdown."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, engine: Engine) -> None:
        super().__init__(config)
        self._engine = engine

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._engine.stop()  # before uvicorn waits for the streams to end
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """Open a socket that accepts connections at the address.

    Raises:
        FaultError: the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (")[0]
        raise FaultError(
            f"cannot listen on {host}, port {port}: {reason}; choose another with --host and --port"
        ) from error


def make_server(app: FastAPI, engine: Engine, patience: float) -> uvicorn.Server:
    """Make a server that runs until SIGTERM or Ctrl-C. `patience` is the time limit for slow clients in seconds."""
    config = uvicorn.Config(
        Patience(app, patience), log_level="warning", server_header=False, timeout_graceful_shutdown=LAST_WORDS
    )
    return _Server(config, engine)


def names(host: str, more: Sequence[str]) -> list[str]:
    """Accepted values of the Host header: the address of the server, this machine's own names, and `more`."""
    bound = f"[{host}]" if ":" in host else host
    return [bound, "localhost", "127.0.0.1", "[::1]", *more]
