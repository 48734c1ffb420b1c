"""The settings of a run of the strokes experiment."""

from dataclasses import dataclass, field

from hypernetworks.errors import UsageError, check_count
from hypernetworks.processes import check_parts
from hypernetworks.strokes.model import StrokeModelConfig
from hypernetworks.training.schedule import Schedule

__all__ = ["StrokesConfig"]


@dataclass(frozen=True)
class StrokesConfig:
    """The settings of a run.

    Raises:
        UsageError: a setting is invalid.

    Example:
        >>> from hypernetworks.strokes import StrokesConfig
        >>> StrokesConfig(drop=0.0).data
        'kanji'
    """

    data: str = "kanji"
    """A named set of drawings (see `hypernetworks data list`), or the path of a file: .json with one's own strokes, or .npz as
    published for sketch-rnn."""
    model: StrokeModelConfig = field(default_factory=StrokeModelConfig)
    schedule: Schedule = field(default_factory=Schedule)
    batch_size: int = 64
    """Drawings per step."""
    stretch: float = 0.15
    """Width and height of each training drawing are multiplied by random factors from 1 - N to 1 + N."""
    drop: float = 0.1
    """Probability that a point inside a stroke of a training drawing is removed."""
    device: str = "auto"
    """Where to train: cpu, cuda, …; auto uses cuda if available."""

    def __post_init__(self) -> None:
        check_count("batch_size", self.batch_size)
        check_parts(self.batch_size, self.schedule.accumulate)
        for name in ("stretch", "drop"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} should be in [0, 1), got {getattr(self, name)}")
