"""The JSON API and the web page. The engine generates the texts; they are sent as server-sent events.

event: text   data: {"text": "…", "changes": [[…], …]}    characters, and for each how much each gate's weights changed
event: end    data: {"reason": "length" | "time-out" | "shutdown" | "failed"}
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from time import monotonic
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from fastapi.sse import format_sse_event
from starlette.middleware.trustedhost import TrustedHostMiddleware

from hypernetworks import __version__
from hypernetworks.errors import UsageError
from hypernetworks.serve.batch import Batch, Job
from hypernetworks.serve.engine import Engine, FullError
from hypernetworks.serve.guard import Check, bearer, same_origin
from hypernetworks.serve.limits import Limits
from hypernetworks.serve.schema import ErrorMessage, Health, RunInfo, Runs, TextRequest, request_type
from hypernetworks.serve.stream import Piece, Stream

FRAME = 1 / 60
"""Seconds between two events of a stream. Characters that come faster than a screen refreshes are sent together."""

_JSON = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorMessage"}}}
_ERRORS = {
    400: "The body is not JSON in UTF-8, or the Host header names another server",
    401: "The token is missing or wrong",
    403: "The request comes from another server's page",
    408: "The request did not arrive in time",
    422: "A setting is out of bounds, or the prompt has characters that are not in the model's alphabet",
    429: "The queue is full: try again after the seconds in Retry-After",
    503: "The server is shutting down",
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events `text`, with characters and their weight changes, and one event `end`",
        "content": {
            "text/event-stream": {
                "schema": {
                    "type": "object",
                    "required": ["event", "data"],
                    "properties": {
                        "event": {"enum": ["text", "end"]},
                        "data": {"type": "string", "contentMediaType": "application/json"},
                    },
                }
            }
        },
    },
    413: {"description": "The request is too large", "content": {"text/plain": {"schema": {"type": "string"}}}},
    **{status: {"description": description, "content": _JSON} for status, description in _ERRORS.items()},
}

STATIC_FILES = {
    "/": ("index.html", "text/html"),
    "/docs": ("docs.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/docs.js": ("docs.js", "text/javascript"),
}
STATIC_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


class EventStream(StreamingResponse):
    """Server-sent events. FastAPI's own class passes each event through three tasks, which is slow with 50 users."""

    media_type = "text/event-stream"


def make_app(engine: Engine, limits: Limits, hosts: Sequence[str], token: str | None = None) -> FastAPI:
    """Make the application.

    Args:
        engine: generates the texts. It is started and stopped with the application.
        limits: bounds on requests.
        hosts: accepted values of the Host header.
        token: the bearer token that requests to the API must carry; None to require no token.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        yield
        engine.stop()
        engine.join()

    app = FastAPI(
        title="hypernetworks",
        description="Text from trained character models.",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        max_body_size=limits.max_body,
    )
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    app.add_exception_handler(RequestValidationError, _one_sentence)
    _add_api(app, engine, limits, [] if token is None else [bearer(token)])
    _add_static_files(app)
    return app


def _add_api(app: FastAPI, engine: Engine, limits: Limits, checks: Sequence[Check]) -> None:
    Generate = request_type(list(engine.batches), limits)

    async def job(request: Generate) -> AsyncIterator[tuple[Job, asyncio.Event]]:  # type: ignore[valid-type]
        job, ready = _submit(engine, limits, request)
        try:
            yield job, ready
        finally:
            job.stream.cancelled = True  # the client has received everything, or has disconnected

    @app.post(
        "/api/generate",
        summary="Generate a text",
        response_class=EventStream,
        responses=RESPONSES,
        dependencies=[*map(Depends, checks), Depends(same_origin)],
    )
    async def generate(made: Annotated[tuple[Job, asyncio.Event], Depends(job)]) -> EventStream:
        """Stream a continuation of the prompt as server-sent events: `text`, and `end` last."""
        return EventStream(_events(made[0].stream, made[1]), headers={"Cache-Control": "no-store"})

    @app.get(
        "/api/runs",
        summary="List the runs and limits",
        responses={status: {"model": ErrorMessage, "description": _ERRORS[status]} for status in (400, 401)},
        dependencies=[*map(Depends, checks)],
    )
    async def runs() -> Runs:
        """The runs, and the bounds on requests."""
        described = [_describe(name, batch) for name, batch in engine.batches.items()]
        return Runs(runs=described, max_prompt=limits.max_prompt, max_length=limits.max_length)

    @app.get("/health", summary="Health check", responses={503: {"model": Health}})
    async def health(response: Response) -> Health:
        """`ok` and 200 while texts can be generated, else 503. No token is required."""
        response.status_code = 200 if engine.alive else 503
        return Health(status="ok" if engine.alive else "stopped", active=engine.active, waiting=engine.waiting)


def _submit(engine: Engine, limits: Limits, request: TextRequest) -> tuple[Job, asyncio.Event]:
    """Submit a request to the engine; return its job, and an event that is set when its stream has something to take."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    stream = Stream(lambda: loop.call_soon_threadsafe(ready.set))
    job = Job(request.run, request.prompt, request.sampling(), stream, monotonic() + limits.timeout)
    if not engine.alive:
        raise HTTPException(503, "the server is shutting down")
    try:
        engine.submit(job)
    except UsageError as error:
        raise HTTPException(422, str(error)) from error
    except FullError as error:
        raise HTTPException(429, str(error), {"Retry-After": "1"}) from error
    return job, ready


async def _events(stream: Stream, ready: asyncio.Event) -> AsyncIterator[bytes]:
    reason = None
    while reason is None:
        await ready.wait()
        ready.clear()
        pieces, reason = stream.take()
        if pieces:
            yield format_sse_event(event="text", data_str=_text_data(pieces))
            await asyncio.sleep(FRAME)
    yield format_sse_event(event="end", data_str=json.dumps({"reason": reason}))


def _text_data(pieces: Sequence[Piece]) -> str:
    """The characters of some pieces, each with its weight changes."""
    changes = [
        piece.change and [float(f"{change:.4g}") for change in piece.change] for piece in pieces for _ in piece.text
    ]
    return json.dumps({"text": "".join(piece.text for piece in pieces), "changes": changes}, separators=(",", ":"))


def _describe(name: str, batch: Batch) -> RunInfo:
    model, symbols = batch.model, batch.symbols
    return RunInfo(
        name=name,
        network=model.config.network,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        unit=symbols.unit,
        alphabet="".join(symbols.alphabet) if symbols.unit == "character" else "",
        gates=list(batch.changes.gates),
    )


async def _one_sentence(_: Request, error: Exception) -> JSONResponse:
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


def _add_static_files(app: FastAPI) -> None:
    for path, (name, kind) in STATIC_FILES.items():
        app.add_api_route(path, _page(name, kind), include_in_schema=False)


def _page(name: str, kind: str) -> Callable[[], Awaitable[Response]]:
    content = (files("hypernetworks.serve") / "page" / name).read_bytes()

    async def page() -> Response:
        return Response(content, media_type=kind, headers=STATIC_HEADERS)

    return page
