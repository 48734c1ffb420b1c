"""Named settings of the strokes experiment: for a first look, for a good model on two cores, and the paper's sizes.

The paper's handwriting models (Ha, Dai and Le, arXiv 1609.09106, table of handwriting) have 900 units. Its data are others, so
its scores cannot be compared. M = 20 is that of Graves, arXiv 1308.0850.
"""

from typing import Final

from hypernetworks.strokes.config import StrokesConfig
from hypernetworks.strokes.model import StrokeModelConfig
from hypernetworks.training.schedule import Schedule

__all__ = ["PRESETS", "PRESETS_IN_WORDS"]

PRESETS: Final = {
    "default": StrokesConfig(
        model=StrokeModelConfig(hidden_size=512, dropout=0.1, recurrent_dropout=0.1),
        schedule=Schedule(steps=8000, learning_rate=4e-3, final_fraction=0.02, evaluate_every=500),
    ),
    "demo": StrokesConfig(
        model=StrokeModelConfig(hidden_size=256, hyper_size=32, hyper_embedding_size=8, recurrent_dropout=0.05),
        schedule=Schedule(steps=2000, learning_rate=8e-3, final_fraction=0.02, evaluate_every=250),
    ),
    "paper-size": StrokesConfig(
        model=StrokeModelConfig(
            hidden_size=900, hyper_size=128, hyper_embedding_size=16, dropout=0.1, recurrent_dropout=0.1
        ),
        schedule=Schedule(steps=20_000, learning_rate=2e-3, final_fraction=0.02, evaluate_every=1000),
    ),
    "seconds": StrokesConfig(
        model=StrokeModelConfig(hidden_size=16, hyper_size=4, hyper_embedding_size=2, mixtures=3),
        schedule=Schedule(steps=6, warmup=1, evaluate_every=3, log_every=2),
        batch_size=4,
    ),
}
"""The settings of `--preset`. Other flags override them."""

PRESETS_IN_WORDS: Final = {
    "default": "512 units, 8000 steps, for a good model on two cores",
    "demo": "256 units, 2000 steps, for a first look",
    "paper-size": "the 900 units of the paper's handwriting models, 20,000 steps",
    "seconds": "16 units for 6 steps, to see what a run writes",
}
"""What `--help` says of each."""
