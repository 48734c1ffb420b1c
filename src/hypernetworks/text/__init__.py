"""The Shakespeare experiment: character models, trained, compared and sampled."""

from .config import TextConfig
from .corpus import Corpus, load_corpus
from .evaluate import Score, evaluate
from .generate import Sampling, generate
from .model import CharacterModel, ModelConfig, count_parameters, flops_per_character, match_parameters
from .presets import PRESETS, penn_treebank_parameters
from .train import load_run, resume, train

__all__ = [
    "PRESETS",
    "CharacterModel",
    "Corpus",
    "ModelConfig",
    "Sampling",
    "Score",
    "TextConfig",
    "count_parameters",
    "evaluate",
    "flops_per_character",
    "generate",
    "load_corpus",
    "load_run",
    "match_parameters",
    "penn_treebank_parameters",
    "resume",
    "train",
]
