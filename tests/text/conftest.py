from dataclasses import replace
from pathlib import Path

import pytest

from hypernetworks.text.config import TextConfig
from hypernetworks.text.corpus import Corpus, load_corpus
from hypernetworks.text.model import CharacterModelConfig
from hypernetworks.training.schedule import Schedule

TEXT = "".join(f"{n} is {n * n}, and its half {n / 2}: so it stands.\n" for n in range(60))


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A text of a few thousand characters."""
    path = tmp_path / "toy.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture
def corpus(toy: Path) -> Corpus:
    return load_corpus(str(toy))


@pytest.fixture
def tiny(toy: Path) -> TextConfig:
    """Settings that train a HyperLSTM on the toy text in no time, with everything random switched on."""
    return TextConfig(
        corpus=str(toy),
        model=CharacterModelConfig(
            hidden_size=8, embedding_size=5, hyper_size=4, hyper_embedding_size=2, dropout=0.1, recurrent_dropout=0.1
        ),
        schedule=replace(Schedule(), steps=6, warmup=1, evaluate_every=2, log_every=2),
        batch_size=3,
        length=7,
        reset_probability=0.3,
        device="cpu",
    )
