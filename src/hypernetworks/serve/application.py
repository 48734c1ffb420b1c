"""Refusals of a request's form as one sentence, in place of FastAPI's list of errors."""

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

__all__ = ["one_sentence"]


async def one_sentence(_: Request, error: Exception) -> JSONResponse:
    """The first error, as one sentence."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        sentence = f"the body is not JSON: {first['ctx']['error']} at {first['loc'][-1]}"
    else:
        where = " ".join(str(part) for part in first["loc"][1:]) or "the body"
        given = "" if first["type"] == "missing" else f", got {first['input']!r:.40}"
        sentence = f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}{given}"
    return JSONResponse({"detail": sentence.encode("utf-8", "backslashreplace").decode()}, 422)
