"""The application of a server before its own paths: known hosts, bounded bodies, and refusals as one sentence."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from hypernetworks import __version__
from hypernetworks.serve.guard import KnownHosts

__all__ = ["application"]


def application(description: str, hosts: Sequence[str], max_body: int, lifespan: Any = None) -> FastAPI:
    """Make an application without paths.

    Args:
        description: what it serves, for its OpenAPI description.
        hosts: accepted values of the Host header.
        max_body: the most bytes of a request's body.
        lifespan: FastAPI's context around all requests.
    """
    app = FastAPI(
        title="hypernetworks",
        description=description,
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        max_body_size=max_body,
    )
    app.add_middleware(KnownHosts, names=hosts)
    app.add_exception_handler(RequestValidationError, _one_sentence)
    return app


async def _one_sentence(_: Request, error: Exception) -> JSONResponse:
    """The first error as one sentence, in place of FastAPI's list of errors."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        sentence = f"the body is not JSON: {first['ctx']['error']} at {first['loc'][-1]}"
    else:
        where = " ".join(str(part) for part in first["loc"][1:]) or "the body"
        given = "" if first["type"] == "missing" else f", got {first['input']!r:.40}"
        sentence = f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}{given}"
    return JSONResponse({"detail": sentence.encode("utf-8", "backslashreplace").decode()}, 422)
