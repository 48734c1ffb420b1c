"""The Shakespeare experiment: character models, trained, compared and sampled."""

from .config import TextConfig
from .corpus import Corpus, load_corpus
from .evaluate import Score
from .generate import Sampling
from .model import CharacterModel, ModelConfig, count_parameters, flops_per_character, match_parameters
from .presets import PRESETS, penn_treebank_parameters
from .train import load_run

__all__ = [
    "PRESETS",
    "CharacterModel",
    "Corpus",
    "ModelConfig",
    "Sampling",
    "Score",
    "TextConfig",
    "count_parameters",
    "flops_per_character",
    "load_corpus",
    "load_run",
    "match_parameters",
    "penn_treebank_parameters",
]
