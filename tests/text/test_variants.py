"""Variants: networks with settings of their own."""

from functools import partial

import pytest

from hypernetworks.errors import UsageError
from hypernetworks.experiments.network_compare import match_networks
from hypernetworks.experiments.space import Choices, Range
from hypernetworks.experiments.variants import own_settings, with_variant
from hypernetworks.text.config import TextConfig
from hypernetworks.text.model import CharacterModel
from hypernetworks.text.sizes import count_parameters
from hypernetworks.text.study import STUDIES, StudySettings, plan_of


def test_a_variant_changes_the_network_and_the_settings_that_it_names() -> None:
    config = TextConfig()
    assert with_variant(config, "gru").model.network == "gru"
    made = with_variant(config, "hyper-lstm:init=paper,hyper-size=32,learning_rate=2e-3,skips=true,batch_size=8")
    assert (made.model.network, made.model.init, made.model.hyper_size) == ("hyper-lstm", "paper", 32)
    assert (made.schedule.learning_rate, made.model.skips, made.batch_size) == (2e-3, True, 8)
    values = {"model.init": "paper", "model.hyper_size": 32}
    assert own_settings(config, "hyper-lstm:init=paper,hyper_size=32") == values


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("hyper-lstn:init=paper", "network should be one of .*, got 'hyper-lstn'"),
        ("hyper-lstm:init=papers", "init should be default or paper, got 'papers'"),
        ("hyper-lstm:", "a variant is NETWORK or NETWORK:SETTING=VALUE,… .*, got ''"),
        ("hyper-lstm:innit=paper", "got 'innit=paper'"),
        ("hyper-lstm:init", "got 'init'"),
        ("lstm:corpus=other", "got 'corpus=other'"),
        ("lstm:hidden_size=3", "the comparison chooses hidden_size itself"),
        ("lstm:steps=3", "the comparison chooses steps itself"),
        ("hyper-lstm:hyper_size=many", "hyper_size should be a value of type int, got 'many'"),
        ("lstm:skips=1", "skips should be true or false, got '1'"),
    ],
)
def test_what_is_no_variant_is_named(variant: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        with_variant(TextConfig(), variant)


def test_the_paper_initialisation_is_that_of_the_network() -> None:
    model = CharacterModel(with_variant(TextConfig(), "hyper-lstm:init=paper").model, 9)
    blocks = model.network.cell(0).hyper.blocks
    P = model.network.cell(0).hyper.P
    assert P[: blocks.h + blocks.x].abs().max() == 0
    assert CharacterModel(TextConfig().model, 9).network.cell(0).hyper.P.abs().max() > 0


def test_variants_of_one_network_are_compared_at_equal_size() -> None:
    names = ("hyper-lstm", "hyper-lstm:init=paper", "hyper-lstm:hyper_size=16")
    made = match_networks(dict.fromkeys(names, TextConfig()), names, 300_000, partial(count_parameters, symbols=65))
    assert [config.model.init for config in made.values()] == ["default", "paper", "default"]
    assert all(abs(count_parameters(config.model, 65) - 300_000) <= 3_000 for config in made.values())
    assert made[names[0]].model.hidden_size == made[names[1]].model.hidden_size < made[names[2]].model.hidden_size


def test_a_study_searches_for_a_variant_what_it_does_not_fix() -> None:
    _, config, _ = STUDIES["seconds"]
    space = {
        "schedule.learning_rate": Range(1e-3, 1e-1),
        "model.hyper_size": Choices((4, 6)),
        "model.depth": Choices((2,)),
    }
    settings = StudySettings(("hyper-lstm:init=paper", "hyper-lstm:hyper_size=6", "lstm:learning_rate=0.5"), 50_000)
    plan = plan_of(settings, config, space, 65)
    assert {variant: set(own) for variant, own in plan.spaces.items()} == {
        "hyper-lstm:init=paper": {"schedule.learning_rate", "model.hyper_size"},
        "hyper-lstm:hyper_size=6": {"schedule.learning_rate"},
        "lstm:learning_rate=0.5": set(),
    }
    made = plan.configure("hyper-lstm:init=paper", {"schedule.learning_rate": 0.01, "model.hyper_size": 4})
    assert (made.model.init, made.model.hyper_size, made.schedule.learning_rate) == ("paper", 4, 0.01)
    assert plan.configure("lstm:learning_rate=0.5", {}).schedule.learning_rate == 0.5
