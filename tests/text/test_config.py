"""config.json: what is written is read again, and what is foreign is one line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hypernetworks.errors import UsageError
from hypernetworks.files import json_object
from hypernetworks.recurrent.families import FAMILIES
from hypernetworks.text.config import Symbols, TextConfig
from hypernetworks.text.corpus import Corpus, load_corpus
from hypernetworks.text.experiment import TEXT, symbols_of
from hypernetworks.text.model import CharacterModelConfig
from hypernetworks.training.device import find_device
from hypernetworks.training.schedule import Schedule

CONFIGS = st.builds(
    TextConfig,
    corpus=st.text(max_size=10),
    model=st.builds(
        CharacterModelConfig,
        network=st.sampled_from(tuple(FAMILIES)),
        hidden_size=st.integers(1, 10**9),
        embedding_size=st.integers(0, 10**9),
        dropout=st.floats(0, 1, exclude_max=True),
    ),
    schedule=st.builds(
        Schedule,
        steps=st.integers(1000, 10**9),
        learning_rate=st.floats(0, exclude_min=True, allow_infinity=False),
        warmup=st.integers(0, 999),
        seed=st.integers(0, 2**63 - 1),
    ),
    reset_probability=st.floats(0, 1) | st.sampled_from([0, 1]),
    validation_characters=st.just(0) | st.integers(2, 10**9),
)
Change = Callable[[dict[str, Any]], None]


def made(**changes: Any) -> Corpus:
    return replace(
        Corpus("toy", torch.zeros(9), torch.zeros(5), torch.zeros(4), ("\n", "a", "é"), "character", "/toy", "0" * 64),
        **changes,
    )


def read(config: object) -> tuple[TextConfig, Symbols, str]:
    found, record = TEXT.read_config(json_object(json.dumps(config).encode(), "runs/x"), "runs/x")
    return found, symbols_of(record), record["sha256"]


def written(**changes: Any) -> dict[str, Any]:
    """A sound config.json, in new dicts and lists."""
    return json.loads(json.dumps(TEXT.run_config(TextConfig(), made(**changes))))


@given(CONFIGS)
def test_settings_come_back_from_json(config: TextConfig) -> None:
    assert read(TEXT.run_config(config, made())) == (config, Symbols(("\n", "a", "é"), "character"), "0" * 64)


def test_the_corpus_is_described(toy: Path, corpus: Corpus) -> None:
    text = toy.read_text()
    described = TEXT.run_config(TextConfig(), corpus)["corpus"]
    assert described["source"] == str(toy)
    assert described["alphabet"] == sorted(set(text))
    assert list(described["sizes"].values()) == [len(text) * 90 // 100, len(corpus.validation), len(corpus.test)]
    assert sum(described["sizes"].values()) == len(text)
    assert described["sha256"] == load_corpus(str(toy)).sha256


def put(value: object, *path: str) -> Change:
    def change(config: dict[str, Any]) -> None:
        for name in path[:-1]:
            config = config[name]
        config[path[-1]] = value

    return change


def drop(*path: str) -> Change:
    def change(config: dict[str, Any]) -> None:
        for name in path[:-1]:
            config = config[name]
        del config[path[-1]]

    return change


LACKS = "has no valid settings or no valid corpus"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("vision", "experiment"), r"not a run of hypernetworks text .* says 'vision'"),
        (drop("experiment"), r"not a run of hypernetworks text .* says None"),
        (put(["text"], "experiment"), "not a run of hypernetworks text"),
        (drop("settings"), LACKS),
        (put(3, "settings"), LACKS),
        (put([], "settings", "schedule"), r"has schedule \[\], expected a JSON object"),
        (put(1, "settings", "model", "width"), "has settings unknown to this version: width"),
        (put(3, "format"), "has format 3, written by a newer version; this one reads up to 2"),
        (put(0, "format"), "has format 0, expected an integer of at least 1"),
        (put("1", "format"), "has format '1', expected an integer of at least 1"),
        (put(True, "format"), "has format True, expected an integer of at least 1"),
        (put("32", "settings", "batch_size"), "has batch_size '32', expected int"),
        (put(True, "settings", "batch_size"), "has batch_size True, expected int"),
        (put(1.5, "settings", "schedule", "steps"), "has steps 1.5, expected int"),
        (put(None, "settings", "model", "dropout"), "has dropout None, expected float"),
        (put(1, "settings", "model", "tie_weights"), "has tie_weights 1, expected bool"),
        (put(["lstm"], "settings", "model", "network"), r"has network \['lstm'\], expected str"),
        (put("elman", "settings", "model", "network"), "network should be one of .* got 'elman'"),
        (put(-3, "settings", "schedule", "steps"), "steps should be at least 1, got -3"),
        (drop("corpus"), LACKS),
        (drop("corpus", "sha256"), LACKS),
        (put(7, "corpus", "sha256"), LACKS),
        (put("letter", "corpus", "unit"), LACKS),
        (put("ab", "corpus", "alphabet"), LACKS),
        (put([], "corpus", "alphabet"), LACKS),
        (put(["a", 1], "corpus", "alphabet"), LACKS),
        (put(["a", "bc"], "corpus", "alphabet"), LACKS),
        (put({"a": 0}, "corpus", "alphabet"), LACKS),
    ],
)
def test_a_foreign_config_is_named_in_one_line(change: Change, message: str) -> None:
    config = written()
    read(config)
    change(config)
    with pytest.raises(UsageError, match=message) as caught:
        read(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "path",
    [("settings", "model"), ("settings", "length"), ("settings", "schedule", "clip"), ("format",)],
)
def test_a_missing_setting_takes_its_default(path: tuple[str, ...]) -> None:
    config = written()
    drop(*path)(config)
    assert read(config)[0] == TextConfig()


def test_an_alphabet_of_words_has_strings_that_are_not_empty() -> None:
    assert read(written(unit="word", alphabet=("\n", "a", "as", "s")))[1].alphabet == ("\n", "a", "as", "s")
    with pytest.raises(UsageError, match=LACKS):
        read(written(unit="word", alphabet=("\n", "")))


def test_an_alphabet_of_bytes_has_bytes() -> None:
    assert read(written(unit="byte", alphabet=("\n", "\xff")))[1] == Symbols(("\n", "\xff"), "byte")
    with pytest.raises(UsageError, match=LACKS):
        read(written(unit="byte", alphabet=("\n", "\u0100")))


@pytest.mark.parametrize("spelled", ['{"settings":' * 100_000, '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"])
def test_a_config_nested_without_end_is_one_line(spelled: str) -> None:
    with pytest.raises(UsageError, match=r"^runs/x: not valid JSON[^\n]*$"):
        json_object(spelled.encode(), "runs/x")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size should be at least 1, got 0"),
        ({"length": -5}, "length should be at least 1, got -5"),
        ({"reset_probability": 1.1}, r"reset_probability should be in \[0, 1\], got 1.1"),
        ({"reset_probability": float("nan")}, r"reset_probability should be in \[0, 1\], got nan"),
        ({"validation_characters": 1}, r"validation_characters should be 0 \(all\) or at least 2, got 1"),
    ],
)
def test_impossible_settings_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TextConfig(**changes)


def test_devices_by_name() -> None:
    assert find_device("cpu") == torch.device("cpu")
    assert find_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("nonsense", "cuda:x", "meta", "hpu", ""):
        with pytest.raises(UsageError, match=rf"^device should be auto, cpu, .* got '{name}': [^\n]+$"):
            find_device(name)


def test_in_format_1_dropout_was_that_of_the_input_too() -> None:
    config = written()
    config["format"] = 1
    config["settings"]["model"] = {"network": "lstm", "dropout": 0.25}
    model = read(config)[0].model
    assert (model.dropout, model.input_dropout) == (0.25, 0.25)
    config["format"] = 2
    assert read(config)[0].model.input_dropout == 0
