"""Access checks of the API: the token, the origin of a request, and time limits for slow clients."""

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
    """Make a check that a request carries this token. The comparison takes constant time."""

    async def check(credentials: _Credentials) -> None:
        given = "" if credentials is None else credentials.credentials
        if not secrets.compare_digest(given.encode(), token.encode()):
            raise HTTPException(
                401, "this server requires a token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
            )

    return check


async def same_origin(request: Request) -> None:
    """Check that a page that sends this request came from this server. A request without Origin is not from a page."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, f"requests from other pages are refused, got origin {origin!r}")


class StalledError(Exception):
    """A client has stopped reading its response."""


class Patience:
    """Middleware that limits the time to receive a request's body, and the time for a client to read part of the response.

    Args:
        app: the wrapped application.
        seconds: the time limit.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request. One that does not arrive in time gets status 408."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        whole = False  # after the whole body, receive() waits for the client to disconnect, which has no time limit

        async def receive_soon() -> Message:
            nonlocal whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout(self._seconds):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"the request did not arrive within {self._seconds:g} seconds") from None
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
            return  # the response stays incomplete, and the connection is closed
