"""The JSON API. The engine generates the texts; they are sent as server-sent events (events.py)."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from time import monotonic
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query
from fastapi.responses import Response

from hypernetworks.errors import UsageError
from hypernetworks.serve import events
from hypernetworks.serve.application import application
from hypernetworks.serve.batch import Batch
from hypernetworks.serve.engine import Engine, FullError
from hypernetworks.serve.events import EventStream, event_stream
from hypernetworks.serve.guard import Check, bearer, json_body, same_origin
from hypernetworks.serve.job import Job
from hypernetworks.serve.limits import Limits
from hypernetworks.serve.pages import TEXT_PAGE, add_pages
from hypernetworks.serve.schema import (
    ErrorMessage,
    Health,
    ReadRequest,
    RunInfo,
    Runs,
    query_type,
    read_type,
    request_type,
)
from hypernetworks.serve.stream import Stream
from hypernetworks.text.alphabet import single_characters
from hypernetworks.text.coloured import gates_of

_JSON = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorMessage"}}}
_ERRORS = {
    400: "The body is not JSON in UTF-8, or the Host header names another server",
    401: "The token is missing or wrong",
    403: "The request comes from another server's page",
    408: "The request did not arrive in time",
    415: "The Content-Type is not application/json",
    422: "A setting is out of bounds, or the prompt has characters that are not in the model's alphabet",
    429: "The queue is full: try again after the seconds in Retry-After",
    503: "The server is shutting down",
}
_OF_BODIES = (408, 413, 415)

Submitted = tuple[Job, asyncio.Event]
"""A job, and an event that is set when its stream has something to take."""


def _responses(*left_out: int) -> dict[int | str, dict[str, Any]]:
    """What a request for a text may be answered."""
    stream = {
        "description": "The events `prompt`, `text` and, last, `end`; comments keep the connection open",
        "content": {EventStream.media_type: {"schema": events.schema()}},
    }
    large = {"description": "The request is too large", "content": {"text/plain": {"schema": {"type": "string"}}}}
    refused = {status: {"description": description, "content": _JSON} for status, description in _ERRORS.items()}
    everything = {200: stream, 413: large, **refused}
    return {status: everything[status] for status in sorted(everything) if status not in left_out}


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

    app = application("Text from trained character models.", hosts, limits.max_body, lifespan)
    _add_api(app, engine, limits, [] if token is None else [bearer(token)])
    add_pages(app, TEXT_PAGE)
    return app


def _add_api(app: FastAPI, engine: Engine, limits: Limits, checks: Sequence[Check]) -> None:
    runs = list(engine.batches)
    Generate, GenerateQuery = request_type(runs, limits), query_type(runs, limits)
    Read = read_type(runs, limits)

    async def posted(request: Generate) -> AsyncIterator[Submitted]:  # type: ignore[valid-type]
        with _submitted(engine, limits, request) as submitted:
            yield submitted

    async def asked(request: Annotated[GenerateQuery, Query()]) -> AsyncIterator[Submitted]:  # type: ignore[valid-type]
        with _submitted(engine, limits, request) as submitted:
            yield submitted

    async def to_read(request: Read) -> AsyncIterator[Submitted]:  # type: ignore[valid-type]
        with _submitted(engine, limits, request) as submitted:
            yield submitted

    def answer(job: Job, ready: asyncio.Event) -> EventStream:
        return event_stream(job.stream, ready, engine.batches[job.run].symbols.unit == "word")

    allowed = [*map(Depends, checks), Depends(same_origin)]

    @app.post(
        "/api/generate",
        summary="Generate a text",
        response_class=EventStream,
        responses=_responses(),
        dependencies=[*allowed, Depends(json_body)],
    )
    async def generate(made: Annotated[Submitted, Depends(posted)]) -> EventStream:
        """Stream a continuation of the prompt as server-sent events: `prompt`, `text` and, last, `end`."""
        return answer(*made)

    @app.get(
        "/api/generate",
        summary="Generate a text, for EventSource",
        response_class=EventStream,
        responses=_responses(*_OF_BODIES),
        dependencies=allowed,
    )
    async def generate_by_query(made: Annotated[Submitted, Depends(asked)]) -> EventStream:
        """The same with the settings in the query, for EventSource. Close it at `end`: it would ask for the text again."""
        return answer(*made)

    @app.post(
        "/api/read",
        summary="Read a text",
        response_class=EventStream,
        responses=_responses(),
        dependencies=[*allowed, Depends(json_body)],
    )
    async def read(made: Annotated[Submitted, Depends(to_read)]) -> EventStream:
        """Read a text and generate nothing: the events `prompt` and `end`. It is queued like a text."""
        return answer(*made)

    @app.get(
        "/api/runs",
        summary="List the runs and limits",
        responses={status: {"model": ErrorMessage, "description": _ERRORS[status]} for status in (400, 401)},
        dependencies=[*map(Depends, checks)],
    )
    async def list_runs() -> Runs:
        """The runs, and the bounds on requests."""
        described = [_describe(name, batch) for name, batch in engine.batches.items()]
        bounds = {name: getattr(limits, name) for name in ("max_prompt", "max_length", "max_details")}
        return Runs(runs=described, **bounds)

    @app.get("/health", summary="Health check", responses={503: {"model": Health}})
    async def health(response: Response) -> Health:
        """`ok` and 200 while texts can be generated, else 503. No token is required."""
        response.status_code = 200 if engine.alive else 503
        return Health(status="ok" if engine.alive else "stopped", active=engine.active, waiting=engine.waiting)

    for path, endpoint in (("/api/runs", list_runs), ("/health", health)):
        dependencies = [] if endpoint is health else [*map(Depends, checks)]
        app.add_api_route(path, endpoint, methods=["HEAD"], dependencies=dependencies, include_in_schema=False)


@contextmanager
def _submitted(engine: Engine, limits: Limits, request: ReadRequest) -> Iterator[Submitted]:
    """Submit a request, and cancel it at the end: the client has received everything, or has disconnected."""
    job, ready = _submit(engine, limits, request)
    try:
        yield job, ready
    finally:
        job.stream.cancelled = True


def _submit(engine: Engine, limits: Limits, request: ReadRequest) -> Submitted:
    """Submit a request to the engine."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    stream = Stream(lambda: loop.call_soon_threadsafe(ready.set))
    details = limits.max_details if request.details else 0
    job = Job(request.run, request.prompt, request.sampling(), stream, details, monotonic() + limits.timeout)
    if not engine.alive:
        raise HTTPException(503, "the server is shutting down")
    try:
        engine.submit(job)
    except UsageError as error:
        raise HTTPException(422, str(error)) from error
    except FullError as error:
        raise HTTPException(429, str(error), {"Retry-After": "1"}) from error
    return job, ready


def _describe(name: str, batch: Batch) -> RunInfo:
    model, symbols = batch.model, batch.symbols
    return RunInfo(
        name=name,
        network=model.config.network,
        layers=model.config.num_layers,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        unit=symbols.unit,
        alphabet="" if symbols.unit == "byte" else "".join(single_characters(symbols.alphabet)),
        gates=list(batch.change.gates),
        gate_names=gates_of(model),
        frozen_of=batch.frozen_of,
    )
