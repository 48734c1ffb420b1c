"""What stands before the API: who may ask, from which page, and how long a client may keep the server waiting."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Check = Callable[..., Awaitable[None]]

_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


def bearer(token: str) -> Check:
    """A check that a request has this token; compared in a time that does not tell how much of it was right."""

    async def check(credentials: _Credentials) -> None:
        given = "" if credentials is None else credentials.credentials
        if not secrets.compare_digest(given.encode(), token.encode()):
            raise HTTPException(
                401, "this server wants its token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
            )

    return check


async def same_origin(request: Request) -> None:
    """A check that a page that sends this request came from this server; a program that names no origin is no page."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(
            403, f"requests come from this server's own page or from no page at all, not from {origin!r}"
        )


class StalledError(Exception):
    """A client has stopped reading its answer."""


class Patience:
    """Middleware that waits only so long for a request's body, and for a client to read some of the answer.

    Args:
        app: what it stands around.
        seconds: how long.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through; one that does not come in time is answered with 408."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        whole = False  # once the body is there, to receive is to wait for the client to go, which may take as long as it likes

        async def receive_soon() -> Message:
            nonlocal whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout(self._seconds):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"the request was not there within {self._seconds:g} seconds") from None
            whole = not message.get("more_body", False)
            return message

        async def send_soon(message: Message) -> None:
            try:
                async with asyncio.timeout(self._seconds):
                    await send(message)
            except TimeoutError:
                raise StalledError from None

        try:
            await self._app(scope, receive_soon, send_soon)
        except StalledError:
            return  # the answer stays incomplete, and the connection is closed
