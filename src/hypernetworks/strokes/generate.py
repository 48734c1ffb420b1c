"""Drawing: the model draws one point after another, for several drawings at a time.

    p_t = head(h_t),  (Δ_t, q_t) ~ p_t at temperature τ,  h_{t+1}, s_{t+1} = network((Δ_t, q_t), s_t)

Each drawing has its own random numbers, so drawing n of a seed is the same whatever others are drawn with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from hypernetworks.analysis.relative import RelativeChange
from hypernetworks.errors import UsageError, check_count
from hypernetworks.recurrent.hyper import HyperRecurrentNetwork
from hypernetworks.strokes.batches import packed
from hypernetworks.strokes.mixture import END, UP, Mixture
from hypernetworks.strokes.model import StrokeModel, points_of
from hypernetworks.training.random import generator

__all__ = ["Drawn", "Sampling", "draw", "draw_points"]


@dataclass(frozen=True)
class Sampling:
    """How points are drawn.

    Raises:
        UsageError: a setting is invalid.

    Example:
        >>> from hypernetworks.strokes import Sampling
        >>> Sampling(count=4, temperature=0.3).longest
        200
    """

    count: int = 25
    """The number of drawings."""
    temperature: float = 0.4
    """Below 1 favours probable strokes, above 1 improbable ones; 0: always the most probable point."""
    longest: int = 200
    """The most points of a drawing. One that has not ended by then is cut off."""
    seed: int = 0
    """Equal seed, model and settings give equal drawings on the same machine."""

    def __post_init__(self) -> None:
        check_count("count", self.count)
        check_count("longest", self.longest)
        if not 0 <= self.temperature < float("inf"):
            raise UsageError(f"temperature should be a finite number of at least 0, got {self.temperature}")
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"seed should be in [0, 2^63), got {self.seed}")


class Drawn(NamedTuple):
    """A drawing of a model.

    Example:
        >>> from hypernetworks.strokes import Sampling, StrokeModel, StrokeModelConfig, draw
        >>> model = StrokeModel(StrokeModelConfig("lstm", hidden_size=8)).eval()
        >>> drawn, other = draw(model, Sampling(count=2, longest=5), scale=10.0)
        >>> len(drawn.lifted) <= 5, drawn.given
        (True, 0)
    """

    offsets: Tensor
    """(points, 2), in the unit of the data."""
    lifted: Tensor
    """(points,), bool."""
    changes: Tensor
    """The change of each gate in the step that drew each point, (points, gates); no gates if the weights are fixed."""
    given: int
    """How many of the points were given."""
    ended: bool
    """Whether the model ended it, and not the limit of points."""


class Points(NamedTuple):
    """A point of each drawing, B drawings."""

    offsets: Tensor
    """(B, 2), in deviations of the training set."""
    pen: Tensor
    """DOWN, UP or END, (B,)."""
    changes: Tensor
    """(B, gates)."""


@torch.inference_mode()
def draw_points(
    model: StrokeModel, sampling: Sampling, scale: float, beginning: tuple[Tensor, Tensor] | None = None
) -> Iterator[Points]:
    """The points of drawings one by one, without end. The caller stops when all drawings have ended.

    Args:
        model: in evaluation mode.
        sampling: how to draw.
        scale: the deviation of the training set's offsets.
        beginning: offsets (points, 2), in the unit of the data, and lifted (points,): what every drawing begins with. It is
            read first, and not part of the result.
    """
    B, device = sampling.count, model.head.weight.device
    draws = [generator(sampling.seed, "drawing", number) for number in range(B)]
    relative = RelativeChange(model.network)
    step = model.network.stepper(B)
    read = model.start(B)
    if beginning is not None and len(beginning[0]):
        points = packed([beginning], scale).to(device).reads.data  # the start and all given points
        for point in points[:-1]:
            step(point.expand(B, -1))
        read = points[-1].expand(B, -1)
    while True:
        before = step.state
        rows = step(read.contiguous()).unbind()
        if isinstance(model.network, HyperRecurrentNetwork):
            changes = relative(before.hyper_h, step.state.hyper_h).T
        else:
            changes = read.new_zeros(B, 0)
        # row by row: the bits of a product depend on the number of rows, and on the alignment of each
        drawn = [_next_point(model, h, sampling.temperature, own) for h, own in zip(rows, draws, strict=True)]
        offsets, pen = (torch.stack(parts) for parts in zip(*drawn, strict=True))
        yield Points(offsets, pen, changes)
        read = points_of(offsets, pen)


def _next_point(model: StrokeModel, h: Tensor, temperature: float, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """The offset (2,) and the state of the pen, (), after the output h (H,) of the network."""
    uniform, normal = torch.rand(2, generator=draws), torch.randn(2, generator=draws)
    return Mixture.of(model.head(h.clone())).draw(temperature, uniform.to(h.device), normal.to(h.device))


def draw(
    model: StrokeModel, sampling: Sampling, scale: float, beginning: tuple[Tensor, Tensor] | None = None
) -> list[Drawn]:
    """Draw `sampling.count` drawings, see `draw_points`; those with a beginning include it."""
    given = 0 if beginning is None else len(beginning[1])
    drawn: list[Points] = []
    open_ = torch.ones(sampling.count, dtype=torch.bool)
    for points in draw_points(model, sampling, scale, beginning):
        drawn.append(Points(*(part.cpu() for part in points)))
        open_ &= drawn[-1].pen != END
        if not open_.any() or len(drawn) + given >= sampling.longest:
            break
    offsets, pen, changes = (torch.stack(parts, dim=1) for parts in zip(*drawn, strict=True))  # (B, T, ·)
    made = []
    for row in range(sampling.count):
        ends = (pen[row] == END).nonzero()
        count = int(ends[0]) if len(ends) else pen.shape[1]
        own, lifted = offsets[row, :count] * scale, pen[row, :count] == UP
        colours = changes[row, :count]
        if beginning is not None:
            own, lifted = torch.cat([beginning[0], own]), torch.cat([beginning[1], lifted])
            colours = torch.cat([colours.new_zeros(given, colours.shape[1]), colours])
        made.append(Drawn(own, lifted, colours, given, len(ends) > 0))
    return made
