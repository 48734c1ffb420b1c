"""A text as server-sent events.

event: prompt  data: {"text": "…", "changes": [null, […], …]}   the prompt, when the model reads it: the text has left the queue
event: text    data: {"text": "…", "changes": [[…], …]}         characters
event: end     data: {"reason": "length" | "time-out" | "shutdown" | "failed"}
: waiting                                                       a comment, whenever nothing has happened for some seconds

The changes of a character are those of each gate in the step that generated it, relative to W_h: analysis/relative.py. They are
null if no step did, as for the first character of a prompt, or if the weights are fixed. A request for details adds to `prompt`
and `text` what else is known of that step (text/details.py):

    "steps": [null, {"likely": [["e", 0.41], …], "probability": 0.41, "gates": [0.47, …], "scales": "base64…"}, …]
A run of words adds the symbols: "symbols": ["to", " ", "be", …]. Changes and steps are then one for each of them, instead of
one for each character.
"""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from pydantic import BaseModel, Field, TypeAdapter

from hypernetworks.serve.stream import Reason, Stream
from hypernetworks.text.coloured import Letter
from hypernetworks.text.details import Details

FRAME = 1 / 60
"""Seconds between two events of a stream. Characters that come faster than a screen refreshes are sent together."""

HEARTBEAT = 15.0
"""Seconds until a comment is sent. Proxies close connections on which nothing has happened for some time."""


class EventStream(StreamingResponse):
    """Server-sent events. FastAPI's own class passes each event through three tasks, which is slow with 50 users."""

    media_type = "text/event-stream"


def event_stream(stream: Stream, ready: asyncio.Event, has_words: bool) -> EventStream:
    """The response that sends a stream; `ready` is set when it has something to take.

    has_words: the letters of the stream are words and characters, which are sent as symbols.
    """
    # nginx collects a response before it passes it on, unless X-Accel-Buffering says no
    return EventStream(
        _events(stream, ready, has_words), headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


class Step(BaseModel):
    """The step that generated a character."""

    likely: list[tuple[str, float]] = Field(
        description="The most probable next characters with their probabilities, before temperature, top_k and top_p. A byte "
        "that is no character alone is written as \\xc3."
    )
    probability: float = Field(description="That of the character itself.")
    gates: list[float] = Field(
        description="The mean of each gate of the last layer over its units; empty if the weights are fixed."
    )
    scales: str | None = Field(
        description="The scales d_h of the rows of W_h of the last layer, gate after gate: float16 numbers, little-endian, in "
        "base64. null if no rows are scaled.",
        json_schema_extra={"contentEncoding": "base64"},
    )


class Letters(BaseModel):
    """Characters with their changes, or the symbols of a run of words."""

    text: str
    symbols: list[str] = Field(
        default=[],
        description="Of a run whose unit is a word: the words and other characters that are the text. What is said of a "
        "character below is then said of each of these.",
    )
    changes: list[list[float] | None] = Field(
        description="For each character, how much the step that generated it changed the weights of each gate: the norm of the "
        "change over the larger of the norms of the weights before and after. null if no step generated it, or if the "
        "weights are fixed."
    )
    steps: list[Step | None] = Field(
        default=[],
        description="With details: for each character, the step that generated it. null if no step did, or beyond the limit of "
        "characters with details.",
    )


class End(BaseModel):
    """The end of a text."""

    reason: Reason


EVENTS: dict[str, tuple[type[BaseModel], str]] = {
    "prompt": (Letters, "The prompt, when the model reads it: the text has left the queue."),
    "text": (Letters, "New characters of the text."),
    "end": (End, "The last event: the text is complete, its time was over, the server stopped, or the model failed."),
}


def schema() -> dict[str, Any]:
    """The schema of one event, for the OpenAPI description."""
    return {"type": "object", "oneOf": [_event_schema(name, *described) for name, described in EVENTS.items()]}


def _event_schema(name: str, model: type[BaseModel], description: str) -> dict[str, Any]:
    content = TypeAdapter(model).json_schema()
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": content}
    properties = {"event": {"const": name}, "data": data}
    return {"type": "object", "description": description, "required": ["event", "data"], "properties": properties}


async def _events(stream: Stream, ready: asyncio.Event, has_words: bool) -> AsyncIterator[bytes]:
    reason = None
    while reason is None:
        try:
            async with asyncio.timeout(HEARTBEAT):
                await ready.wait()
        except TimeoutError:
            yield b": waiting\n\n"
            continue
        ready.clear()
        prompt, letters, reason = stream.take()
        if prompt is not None:
            yield format_sse_event(event="prompt", data_str=_data(prompt, has_words))
        if letters:
            yield format_sse_event(event="text", data_str=_data(letters, has_words))
            await asyncio.sleep(FRAME)
    yield format_sse_event(event="end", data_str=json.dumps({"reason": reason}))


def _data(letters: Sequence[Letter], has_words: bool) -> str:
    """Characters, or symbols, each with its changes. A letter may be several characters, after bytes that are no UTF-8, too."""
    entries = letters if has_words else [letter for letter in letters for _ in letter.text]
    data: dict[str, Any] = {"text": "".join(letter.text for letter in letters)}
    if has_words:
        data["symbols"] = [letter.text for letter in letters]
    data["changes"] = [_rounded(letter.changes) or None for letter in entries]
    if any(letter.details for letter in letters):
        data["steps"] = [letter.details and _step(letter.details) for letter in entries]
    return json.dumps(data, separators=(",", ":"))


def _step(details: Details) -> dict[str, Any]:
    gates, scales = details.inside
    likely, probabilities = zip(*details.likely, strict=True)
    return {
        "likely": list(zip(likely, _rounded(probabilities), strict=True)),
        "probability": float(f"{details.probability:.4g}"),
        "gates": _rounded(gates),
        "scales": None if scales is None else b64encode(scales.numpy().astype("<f2").tobytes()).decode(),
    }


def _rounded(numbers: Sequence[float]) -> list[float]:
    return [float(f"{number:.4g}") for number in numbers]
