"""Uvicorn around the application: the socket, the signals, and an end that every open stream is told of."""

import socket
from collections.abc import Sequence

import uvicorn
from fastapi import FastAPI

from hypernetworks.errors import FaultError
from hypernetworks.serve.engine import Engine
from hypernetworks.serve.guard import Patience

LAST_WORDS = 5
"""Seconds that the streams which are open when the server is told to stop may take to end."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, engine: Engine) -> None:
        super().__init__(config)
        self._engine = engine

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._engine.stop()  # before uvicorn waits for the streams to end
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections at the address; FaultError where that is not to be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (")[0]
        raise FaultError(f"cannot listen at {host}, port {port}: {reason}; choose by --host and --port") from error


def make_server(app: FastAPI, engine: Engine, patience: float) -> uvicorn.Server:
    """A server that runs until SIGTERM or Ctrl-C; patience: the seconds that it waits for a client."""
    config = uvicorn.Config(
        Patience(app, patience), log_level="warning", server_header=False, timeout_graceful_shutdown=LAST_WORDS
    )
    return _Server(config, engine)


def names(host: str, more: Sequence[str]) -> list[str]:
    """What the server answers to in the Host header: the address that it is bound to, this machine's own names, and more."""
    bound = f"[{host}]" if ":" in host else host
    return [bound, "localhost", "127.0.0.1", "[::1]", *more]
