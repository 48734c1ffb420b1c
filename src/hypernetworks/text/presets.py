"""Named settings of the text experiment: for a first look, for real runs on two cores, and those of the paper.

The paper is Ha, Dai and Le, "HyperNetworks", arXiv 1609.09106, tables for Penn Treebank and enwik8 characters. It keeps 0.90 of
input, output and recurrent values (0.85 for Z = 16, 0.80 for two layers), trains with Adam at 1e-3, and clips gradients at 1.
"""

from dataclasses import replace
from typing import Final

from hypernetworks.text.config import TextConfig
from hypernetworks.text.model import CharacterModelConfig
from hypernetworks.text.sizes import count_parameters
from hypernetworks.training.schedule import Schedule

PENN_TREEBANK_SYMBOLS: Final = 50

_ONE_HOT = CharacterModelConfig(
    embedding_size=0, hidden_size=1000, hyper_size=128, input_dropout=0.10, dropout=0.10, recurrent_dropout=0.10
)
_ONE_HOT_LSTM = replace(_ONE_HOT, network="lstm")

PENN_TREEBANK: Final = {
    "LSTM 1000": _ONE_HOT_LSTM,
    "LSTM 1250": replace(_ONE_HOT_LSTM, hidden_size=1250),
    "2-layer LSTM 1000": replace(_ONE_HOT_LSTM, num_layers=2),
    "layer-norm LSTM 1000": replace(_ONE_HOT, network="layer-norm-lstm"),
    "HyperLSTM 1000": replace(_ONE_HOT, network="hyper-lstm-without-norm", hyper_embedding_size=4),
    "layer-norm HyperLSTM 1000": replace(_ONE_HOT, hyper_embedding_size=4),
    "layer-norm HyperLSTM 1000, Z = 16": replace(_ONE_HOT, input_dropout=0.15, dropout=0.15, recurrent_dropout=0.15),
    "2-layer layer-norm HyperLSTM": replace(
        _ONE_HOT, num_layers=2, input_dropout=0.20, dropout=0.20, recurrent_dropout=0.20
    ),
}
"""The models of the paper's Penn Treebank table, with K = 128. The last two have Z = 16."""


def penn_treebank_parameters() -> dict[str, int]:
    """The number of parameters of each row of the paper's Penn Treebank table, counted on our modules (50 symbols, one-hot).

    All equal the printed numbers, to the printed digit, except the row with Z = 16: 5.09 M here, 5.06 M in print.
    """
    return {row: count_parameters(config, PENN_TREEBANK_SYMBOLS) for row, config in PENN_TREEBANK.items()}


_ADAM = Schedule(steps=100_000, learning_rate=1e-3, warmup=0, final_fraction=1.0, weight_decay=0.0, evaluate_every=1000)

PRESETS: Final = {
    "default": TextConfig(),
    "demo": TextConfig(
        model=CharacterModelConfig(embedding_size=32, hyper_size=32, hyper_embedding_size=8, depth=3),
        schedule=Schedule(steps=240, learning_rate=1e-2, warmup=20, evaluate_every=60),
        batch_size=64,
        length=64,
        # In 240 steps the RHN has to see the zero state more often: validation starts there, and its loss blew up without.
        reset_probability=0.05,
        validation_characters=8192,
    ),
    "tiny-shakespeare": TextConfig(
        corpus="tiny-shakespeare",
        model=CharacterModelConfig(hidden_size=320, depth=3, input_dropout=0.2, dropout=0.2, recurrent_dropout=0.1),
        schedule=Schedule(steps=2000, learning_rate=4e-3, final_fraction=0.05, evaluate_every=400),
    ),
    "shakespeare": TextConfig(
        model=CharacterModelConfig(hidden_size=320, depth=3),
        schedule=Schedule(steps=2400, learning_rate=4e-3, evaluate_every=800),
    ),
    "paper-penn-treebank": TextConfig(
        "ptb-char", PENN_TREEBANK["layer-norm HyperLSTM 1000, Z = 16"], _ADAM, batch_size=128, length=100
    ),
    "paper-enwik8": TextConfig(
        "enwik8",
        replace(_ONE_HOT, hidden_size=1800, hyper_size=256, hyper_embedding_size=64),
        _ADAM,
        batch_size=128,
        length=250,
    ),
}
"""The settings of `--preset`. Other flags override them."""

PRESETS_IN_WORDS: Final = {
    "default": "the plays of Shakespeare, 256 units, 3000 steps",
    "demo": "the plays, small and for minutes on two cores: 240 steps at a high learning rate",
    "tiny-shakespeare": "Tiny Shakespeare, 320 units with dropout, 2000 steps",
    "shakespeare": "the plays, 320 units, 2400 steps",
    "paper-penn-treebank": "the best model of the paper's table for the Penn Treebank, 100,000 steps",
    "paper-enwik8": "the paper's model for enwik8, 1800 units, 100,000 steps",
}
"""What `--help` says of each."""
