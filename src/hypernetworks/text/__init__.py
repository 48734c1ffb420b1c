"""The text experiment: character models, trained, compared and sampled."""

from .config import TextConfig
from .corpus import Corpus, load_corpus
from .evaluate import TextScore
from .experiment import TEXT, load_run
from .generate import Sampling
from .model import CharacterModel, CharacterModelConfig
from .presets import PRESETS, penn_treebank_parameters
from .sizes import count_parameters, flops_per_character, match_parameters
from .trained import TrainedText

__all__ = [
    "PRESETS",
    "TEXT",
    "CharacterModel",
    "CharacterModelConfig",
    "Corpus",
    "Sampling",
    "TextConfig",
    "TextScore",
    "TrainedText",
    "count_parameters",
    "flops_per_character",
    "load_corpus",
    "load_run",
    "match_parameters",
    "penn_treebank_parameters",
]
