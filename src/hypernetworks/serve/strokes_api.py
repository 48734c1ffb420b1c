"""The JSON API of `strokes serve`: the user begins a drawing, and a model finishes it.

A drawing takes a fraction of a second, so it is answered as a whole; the page draws it stroke by stroke. One drawing is
computed at a time. Others wait, and beyond the queue requests are refused with 429.
"""

import asyncio
import threading
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from hypernetworks.analysis import RelativeChange
from hypernetworks.serve.application import application
from hypernetworks.serve.guard import bearer, json_body, same_origin
from hypernetworks.serve.limits import DrawingLimits
from hypernetworks.serve.pages import STROKES_PAGE, add_pages
from hypernetworks.serve.schema import ErrorMessage
from hypernetworks.strokes.generate import Drawn, Sampling, draw
from hypernetworks.strokes.model import StrokeModel
from hypernetworks.strokes.own_strokes import beginning_of

__all__ = ["SIDE", "Artist", "make_app"]

SIDE = 100.0
"""The side of the square of all coordinates."""

MOST_STROKES, MOST_POINTS = 100, 2000
"""Of a beginning, and of one of its strokes."""

Coordinate = Annotated[float, Field(ge=-10 * SIDE, le=10 * SIDE, allow_inf_nan=False)]
Stroke = Annotated[list[tuple[Coordinate, Coordinate]], Field(min_length=1, max_length=MOST_POINTS)]


class DrawingRequest(BaseModel):
    """A request for a drawing."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    strokes: Annotated[list[Stroke], Field(max_length=MOST_STROKES)] = Field(
        default=[], description="What the drawing begins with: points [x, y] on a square of 100 units, y points down."
    )
    unfinished: bool = Field(default=False, description="Whether the model continues the last of these strokes.")
    temperature: float = Field(
        default=0.4, ge=0, le=10, allow_inf_nan=False, description="Below 1, probable strokes become more frequent."
    )
    seed: int = Field(default=0, ge=0, lt=2**53, description="Equal seeds and settings give equal drawings.")


class DrawnPoint(BaseModel):
    """A point of the pen."""

    x: float
    y: float
    lifted: bool = Field(description="Whether the pen is lifted after this point.")
    change: float | None = Field(
        description="How much the step that drew this point changed the weights, from 0 to 2, the mean over the gates. null "
        "for points of the beginning, or if the weights are fixed."
    )


class Drawing(BaseModel):
    """A drawing: the simplified beginning, and what the model added."""

    points: list[DrawnPoint]
    given: int = Field(description="How many of the points are those of the beginning.")
    ended: bool = Field(description="Whether the model ended the drawing; else it was cut off at the limit of points.")


class About(BaseModel):
    """The model of the server."""

    name: str
    network: str
    parameters: int
    moves: bool = Field(description="Whether the network's weights change from step to step.")
    attribution: str = Field(
        description="What a picture of the model's drawings has to say about the source of its data."
    )


class Artist:
    """A model that draws for one request at a time.

    Args:
        name: the name of the run.
        model: in evaluation mode.
        scale: the deviation of the training set's offsets.
        size: the side of the square of the data.
        attribution: the source of the data.
    """

    def __init__(self, name: str, model: StrokeModel, scale: float, size: float, attribution: str) -> None:
        self.model: StrokeModel = model.eval()
        self.scale: float = scale
        self.size: float = size
        self.about: About = About(
            name=name,
            network=model.config.network,
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            moves=bool(RelativeChange(model.network).gates),
            attribution=attribution,
        )
        self._turn = threading.Lock()

    def draw(self, request: DrawingRequest, longest: int) -> Drawing:
        """Draw for a request."""
        beginning = None
        if request.strokes:
            strokes = [np.array(stroke, dtype=np.float64) for stroke in request.strokes]
            beginning = beginning_of(strokes, SIDE, self.size, request.unfinished)
        sampling = Sampling(1, request.temperature, longest, request.seed)
        with self._turn:
            (drawn,) = draw(self.model, sampling, self.scale, beginning)
        return self._described(drawn)

    def warm_up(self) -> None:
        """Draw a point for nobody, so that all kernels are built."""
        self.draw(DrawingRequest(), 1)

    def _described(self, drawn: Drawn) -> Drawing:
        places = (drawn.offsets.double().cumsum(0) / self.size + 0.5) * SIDE
        changes = drawn.changes.mean(dim=1).tolist() if self.about.moves else []
        points = [
            DrawnPoint(
                x=round(x, 2),
                y=round(y, 2),
                lifted=lifted,
                change=float(f"{changes[k]:.4g}") if changes and k >= drawn.given else None,
            )
            for k, ((x, y), lifted) in enumerate(zip(places.tolist(), drawn.lifted.tolist(), strict=True))
        ]
        return Drawing(points=points, given=drawn.given, ended=drawn.ended)


def make_app(artist: Artist, limits: DrawingLimits, hosts: Sequence[str], token: str | None = None) -> FastAPI:
    """Make the application.

    Args:
        artist: draws.
        limits: bounds on requests.
        hosts: accepted values of the Host header.
        token: the bearer token that requests to the API must carry; None to require no token.
    """
    app = application("Drawings from a trained stroke model.", hosts, limits.max_body)
    checks: list[Any] = [] if token is None else [Depends(bearer(token))]
    waiting = 0

    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorMessage} for status in (400, 401, 403, 408, 415, 422, 429)
    }

    @app.post(
        "/api/draw",
        summary="Finish a drawing",
        responses=refusals,
        dependencies=[*checks, Depends(same_origin), Depends(json_body)],
    )
    async def finish(request: DrawingRequest) -> Drawing:
        """Continue the given strokes, or begin a drawing if there are none."""
        nonlocal waiting
        if waiting > limits.queue:
            raise HTTPException(429, f"{waiting} drawings are waited for: try again soon", {"Retry-After": "1"})
        waiting += 1
        try:
            return await asyncio.to_thread(artist.draw, request, limits.longest)
        finally:
            waiting -= 1

    @app.get("/api/about", summary="Describe the model", responses={401: refusals[401]}, dependencies=checks)
    async def about() -> About:
        """The model that draws."""
        return artist.about

    @app.get("/health", summary="Health check")
    async def health() -> dict[str, str | int]:
        """`ok` while the server runs. No token is required."""
        return {"status": "ok", "waiting": waiting}

    add_pages(app, STROKES_PAGE)
    return app
