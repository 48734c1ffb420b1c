"""Run the application with uvicorn: the socket, the signals, and a shutdown that ends every open stream."""

import socket
from collections.abc import Callable, Sequence
from typing import Protocol

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from hypernetworks.errors import FaultError, UsageError
from hypernetworks.serve.guard import HOST, Patience

LAST_WORDS = 5
"""Seconds that open streams may take to end at shutdown."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._stop = stop

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stop()  # before uvicorn waits for the streams to end
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


class TimeLimits(Protocol):
    """Time limits of requests, in seconds."""

    @property
    def patience(self) -> float:
        """To receive a request, and for a client to read a part of the response."""
        ...

    @property
    def total(self) -> float:
        """For a request and its response."""
        ...


def make_server(app: FastAPI, stop: Callable[[], None], limits: TimeLimits, root_path: str = "") -> uvicorn.Server:
    """Make a server that runs until SIGTERM or Ctrl-C.

    stop: called at the shutdown, before the server waits for open responses to end.
    root_path: the path below which clients see the server, for example "/text"; whether a proxy removes it or not.
    """
    config = uvicorn.Config(
        Patience(Below(app, root_path), limits.patience, limits.total),
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=LAST_WORDS,
    )
    return _Server(config, stop)


class Below:
    """Middleware that serves an application below a path."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app = app
        self._root_path = root_path.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request. Starlette removes root_path from the path, so it is added if a proxy has removed it."""
        if scope["type"] == "http" and self._root_path:
            path = scope["path"]
            if not path.startswith(f"{self._root_path}/"):
                path = self._root_path + path
            scope = {**scope, "root_path": self._root_path, "path": path}
        await self._app(scope, receive, send)


LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def names(host: str, more: Sequence[str]) -> list[str]:
    """Accepted values of the Host header: the address of the server, this machine's own names, and `more`.

    Raises:
        UsageError: one of `more` is no host name.
    """
    for name in more:
        if (match := HOST.fullmatch(name)) is None or match[0] != match[1]:
            raise UsageError(f"allow_host should be host names without scheme and port, got {name!r}")
    return [_bracketed(host), *LOOPBACK, *more]


def greeting(host: str, port: int, more: Sequence[str]) -> str:
    """What to print when the server listens: its address, and how other machines reach it."""
    everywhere = host in ("0.0.0.0", "::")
    lines = [f"http://{'localhost' if everywhere else _bracketed(host)}:{port}  (the API: /docs; Ctrl-C stops)"]
    if _bracketed(host) not in LOOPBACK:
        known = ", ".join(["this machine's addresses" if everywhere else host, *more])
        lines.append(f"Other machines can use it under {known}; --allow-host NAME adds a name.")
        lines.append(
            "This is plain HTTP: texts and the token can be read on the way. Put a proxy with TLS in front of it."
        )
    return "\n".join(lines)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
