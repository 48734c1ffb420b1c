"""Every shipped preset runs, and the paper's are the paper's."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from hypernetworks import cli
from hypernetworks.text.commands import Compare
from hypernetworks.text.corpus import Corpus
from hypernetworks.text.data_sets import NAMED_SETS
from hypernetworks.text.experiment import TEXT, load_run
from hypernetworks.text.model import CharacterModelConfig
from hypernetworks.text.presets import PENN_TREEBANK, PRESETS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_runs_two_steps(name: str, toy: Path, corpus: Corpus, tmp_path: Path) -> None:
    """All as shipped but for the text and what two steps of a toy cannot be: the sizes of model and batch."""
    config = PRESETS[name]
    schedule = replace(config.schedule, steps=2, warmup=min(config.schedule.warmup, 1), evaluate_every=1)
    model = replace(config.model, hidden_size=16, hyper_size=min(config.model.hyper_size, 16))
    config = replace(config, corpus=str(toy), schedule=schedule, model=model, batch_size=2, length=8)
    run = TEXT.train(tmp_path / "run", config, corpus, name)
    assert load_run(run.folder)[1] == config
    assert [row["step"] for row in run.metrics() if "validation_loss" in row] == [1, 2]


def test_presets_read_corpora_that_have_names() -> None:
    assert {config.corpus for config in PRESETS.values()} <= set(NAMED_SETS)


def test_the_papers_presets_are_its_best_models_of_one_layer() -> None:
    """Adam at 1e-3, clip 1; keep 0.85 with Z = 16; sizes, batches and lengths of its two tables."""
    paper = {name: config for name, config in PRESETS.items() if name.startswith("paper")}
    sizes = {
        name: (
            config.corpus,
            config.model.network,
            config.model.hidden_size,
            config.model.hyper_size,
            config.model.hyper_embedding_size,
            config.batch_size,
            config.length,
        )
        for name, config in paper.items()
    }
    assert sizes == {
        "paper-penn-treebank": ("ptb-char", "hyper-lstm", 1000, 128, 16, 128, 100),
        "paper-enwik8": ("enwik8", "hyper-lstm", 1800, 256, 64, 128, 250),
    }
    for config in paper.values():
        assert (config.schedule.learning_rate, config.schedule.clip, config.schedule.weight_decay) == (1e-3, 1, 0)
        assert {config.schedule.rate(step) for step in (1, 1000, config.schedule.steps)} == {1e-3}
        assert config.model.embedding_size == 0
    model = paper["paper-penn-treebank"].model
    assert (model.dropout, model.recurrent_dropout) == (0.15, 0.15)


def test_the_papers_penn_treebank_models_have_its_sizes_and_dropout() -> None:
    """Hidden size and layers, Z where there is one, and what is kept: .90, but .85 with Z = 16 and .80 with two layers."""

    def sizes(config: CharacterModelConfig) -> tuple[int, int, int | None, float]:
        Z = config.hyper_embedding_size if config.network.startswith("hyper") else None
        return config.hidden_size, config.num_layers, Z, round(1 - config.dropout, 2)

    assert {row: sizes(config) for row, config in PENN_TREEBANK.items()} == {
        "LSTM 1000": (1000, 1, None, 0.9),
        "LSTM 1250": (1250, 1, None, 0.9),
        "2-layer LSTM 1000": (1000, 2, None, 0.9),
        "layer-norm LSTM 1000": (1000, 1, None, 0.9),
        "HyperLSTM 1000": (1000, 1, 4, 0.9),
        "layer-norm HyperLSTM 1000": (1000, 1, 4, 0.9),
        "layer-norm HyperLSTM 1000, Z = 16": (1000, 1, 16, 0.85),
        "2-layer layer-norm HyperLSTM": (1000, 2, 16, 0.8),
    }
    assert {config.hyper_size for config in PENN_TREEBANK.values()} == {128}


def test_the_demo_has_a_learning_rate_for_each_of_its_networks_and_two_seeds() -> None:
    makefile = (ROOT / "Makefile").read_text()
    line = re.search(r"hypernetworks text compare (.*?) --out", makefile)
    rates = re.search(r"^DEMO_RATES := (.*)$", makefile, re.MULTILINE)
    assert line is not None
    assert rates is not None
    demo = cli._parse("text compare", shlex.split(line[1].replace("$(DEMO_RATES)", rates[1])))
    assert isinstance(demo, Compare)
    assert set(demo.own) == set(demo.networks)
    assert len(demo.seeds) == 2
    preset = PRESETS["demo"]
    for config in demo.own.values():
        rate = config.schedule.learning_rate
        assert config == replace(preset, schedule=replace(preset.schedule, learning_rate=rate))
