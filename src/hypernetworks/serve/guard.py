"""Access checks: the server's name, the token, the origin and form of a request, and time limits for slow clients."""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from fnmatch import fnmatchcase
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Check = Callable[..., Awaitable[None]]

HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@/\s]+)(?::\d+)?")
"""A Host header: a name, an IPv4 address or an IPv6 address in brackets, and a port or none."""

_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


def bearer(token: str) -> Check:
    """Make a check that a request carries this token. The comparison takes constant time."""

    async def check(credentials: _Credentials) -> None:
        challenge = {"WWW-Authenticate": "Bearer"}
        if credentials is None:
            raise HTTPException(401, "this server requires a token: Authorization: Bearer TOKEN", challenge)
        if not secrets.compare_digest(credentials.credentials.encode(), token.encode()):
            raise HTTPException(401, "the token is wrong: it is the one that the server was started with", challenge)

    return check


async def same_origin(request: Request) -> None:
    """Check that a page that sends this request came from this server.

    Browsers send Origin with every POST and every EventSource. With the GET of an image or a link they send only where it comes
    from. A request with neither is not from a page.
    """
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, f"requests from other pages are refused, got origin {origin!r}")
    if (site := request.headers.get("sec-fetch-site")) in ("cross-site", "same-site"):
        raise HTTPException(403, f"requests from other pages are refused, got Sec-Fetch-Site {site!r}")


async def json_body(request: Request) -> None:
    """Check that the body is declared as JSON. Other pages cannot send that without asking first (CORS)."""
    given = request.headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() != "application/json":
        got = repr(given[:40]) if given else "none"
        raise HTTPException(415, f"the header Content-Type should be application/json, got {got}")


class KnownHosts:
    """Middleware that refuses requests whose Host header is not a name of this server.

    A page of another site whose name was made to point to this machine (DNS rebinding) would count as the server's own. The
    address that a client connected to is always accepted, because such a page has a name.

    Args:
        app: the wrapped application.
        names: the accepted names; "*.example.org" accepts all names below it, and "*" all.
    """

    def __init__(self, app: ASGIApp, names: Sequence[str]) -> None:
        self._app = app
        self._names = [name.lower() for name in names]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, or refuse it with 400."""
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
            if (refusal := self._refusal(given, scope["server"][0])) is not None:
                await JSONResponse({"detail": refusal}, 400)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, given: str, address: str) -> str | None:
        match = HOST.fullmatch(given)
        if match is None:
            return f"the header Host should be the name of this server, got {given[:80]!r}"
        name = match[1].lower()
        own = f"[{address}]" if ":" in address else address
        if name == own or any(fnmatchcase(name, pattern.replace("[", "[[]")) for pattern in self._names):
            return None
        return f"this server does not answer to the name {name[:80]}: start it with --allow-host {name[:80]}"


class StalledError(Exception):
    """A client has stopped reading its response."""


class Patience:
    """Middleware that limits the time to receive a request, for a client to read a part of the response, and for all of it.

    Args:
        app: the wrapped application.
        seconds: the limit for the request, and for each part of the response.
        total: the limit for a request and its response.
    """

    def __init__(self, app: ASGIApp, seconds: float, total: float) -> None:
        self._app = app
        self._seconds = seconds
        self._total = total

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request. One that does not arrive in time gets status 408."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = asyncio.get_running_loop().time()
        whole = False  # after the whole body, receive() waits for the client to disconnect, which has no time limit

        async def receive_soon() -> Message:
            nonlocal whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout_at(start + self._seconds):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"the request did not arrive within {self._seconds:g} seconds") from None
            whole = not message.get("more_body", False)
            return message

        async def send_soon(message: Message) -> None:
            try:
                async with asyncio.timeout_at(start + self._total), asyncio.timeout(self._seconds):
                    await send(message)
            except TimeoutError:
                raise StalledError from None

        try:
            await self._app(scope, receive_soon, send_soon)
        except StalledError:
            return  # the response stays incomplete, and the connection is closed
