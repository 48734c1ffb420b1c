"""Studies of the text experiment: which networks, at which size, and what is searched."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from typing import Any, Final

from hypernetworks.errors import UsageError
from hypernetworks.experiments.networks import settings_of
from hypernetworks.experiments.plan import Plan
from hypernetworks.experiments.search import Pruning
from hypernetworks.experiments.space import Choices, Range, Space, changed, space_to_json
from hypernetworks.experiments.variants import CHOSEN, own_settings, with_variant
from hypernetworks.recurrent.families import FAMILIES
from hypernetworks.text.config import TextConfig
from hypernetworks.text.model import CharacterModelConfig
from hypernetworks.text.sizes import match_parameters
from hypernetworks.training.schedule import Schedule

__all__ = ["STUDIES", "STUDIES_IN_WORDS", "StudySettings", "plan_of", "sized"]

_TAKEN: Final = frozenset(name for network in FAMILIES for name in settings_of(network))
"""The settings of the model that only some networks have."""

SPACE: Final[Space] = {
    "schedule.learning_rate": Range(2e-3, 6e-2, log=True),
    "model.dropout": Range(0.0, 0.3),
    "model.recurrent_dropout": Range(0.0, 0.2),
    "model.hyper_size": Choices((16, 32, 64)),
    "model.hyper_embedding_size": Choices((4, 8, 16)),
    "model.depth": Choices((2, 3, 5)),
}
"""The search space of the presets. hyper_size, hyper_embedding_size and depth are searched for the networks that have them."""


@dataclass(frozen=True)
class StudySettings:
    """What a study does, besides the settings of its runs."""

    networks: tuple[str, ...] = (
        "lstm",
        "layer-norm-lstm",
        "gru",
        "hyper-lstm-without-norm",
        "hyper-lstm",
        "hyper-gru",
        "rhn",
        "hyper-rhn",
    )
    """Which networks. NETWORK:SETTING=VALUE,… is a network with settings of its own, for example hyper-lstm:init=paper."""
    parameters: int = 350_000
    """The number of parameters of every model, within 1 %. hidden_size is chosen for it."""
    trials: int = 10
    """Trials of each network."""
    trial_steps: int = 600
    """Steps of a trial; 0: as many as in a final run."""
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    """Seeds of the final runs with each network's best settings. Trials have seed 0."""
    pruning: Pruning = field(default_factory=Pruning)


def sized(config: TextConfig, variant: str, parameters: int, symbols: int, values: Mapping[str, Any]) -> TextConfig:
    """The configuration of a variant with these searched values and this number of parameters.

    Raises:
        UsageError: no hidden_size gives that number within 1 %, or a value is impossible.
    """
    config = changed(with_variant(config, variant), values)
    return replace(config, model=match_parameters(config.model, symbols, parameters))


def plan_of(study: StudySettings, config: TextConfig, space: Space, symbols: int) -> Plan[TextConfig]:
    """The plan of a study. Every combination of choices is sized, so that no trial fails later.

    Args:
        study: what the study does.
        config: the settings of the final runs but for those searched.
        space: the search space of all networks together.
        symbols: the size of the alphabet.

    Raises:
        UsageError: a setting may not be searched, a value is impossible, or a network has no hidden_size for the number of
            parameters with one of the choices.
    """
    for path in space:
        if path in CHOSEN:
            raise UsageError(f"the study chooses {path} itself: it cannot be searched")
    spaces = {variant: _space_of(config, variant, space) for variant in study.networks}

    def configure(variant: str, values: Mapping[str, Any]) -> TextConfig:
        return sized(config, variant, study.parameters, symbols, values)

    for variant, own in spaces.items():
        low = {path: given.choices[0] if isinstance(given, Choices) else given.low for path, given in own.items()}
        high = {path: given.choices[-1] if isinstance(given, Choices) else given.high for path, given in own.items()}
        configure(variant, high)
        sizes = {
            path: given.choices
            for path, given in own.items()
            if isinstance(given, Choices) and path.startswith("model.")
        }
        for values in product(*sizes.values()):
            configure(variant, low | dict(zip(sizes, values, strict=True)))
    return Plan(
        variants=study.networks,
        spaces=spaces,
        configure=configure,
        trials=study.trials,
        trial_steps=study.trial_steps,
        seeds=study.seeds,
        pruning=study.pruning,
        written={"parameters": study.parameters, "space": space_to_json(space), "settings": asdict(config)},
    )


def _space_of(config: TextConfig, variant: str, space: Space) -> Space:
    """The part of a space that a variant's network has and that the variant does not fix."""
    has = settings_of(with_variant(config, variant).model.network)
    fixed = {f"model.{name}" for name in _TAKEN.difference(has)} | set(own_settings(config, variant))
    return {path: values for path, values in space.items() if path not in fixed}


_BASE = TextConfig(
    corpus="tiny-shakespeare",
    model=CharacterModelConfig(depth=3, dropout_per="sequence"),
    schedule=Schedule(steps=1225, warmup=100, final_fraction=0.05, evaluate_every=175),
    batch_size=32,
    length=128,
)

STUDIES: Final[Mapping[str, tuple[StudySettings, TextConfig, Space]]] = {
    "tiny-shakespeare-350k": (StudySettings(), _BASE, SPACE),
    "tiny-shakespeare-1m": (
        StudySettings(
            ("lstm", "layer-norm-lstm", "hyper-lstm"), 1_350_000, trials=6, trial_steps=1000, seeds=(1, 2, 3)
        ),
        replace(
            _BASE,
            model=replace(_BASE.model, input_dropout=0.1, hyper_size=32, hyper_embedding_size=8),
            schedule=replace(_BASE.schedule, steps=2940, final_fraction=0.02, evaluate_every=245),
        ),
        # A trial reads the text 4 times and a final run 12 times, so a trial alone would choose too little dropout.
        {
            "schedule.learning_rate": Range(5e-3, 5e-2, log=True),
            "model.dropout": Range(0.3, 0.5),
            "model.recurrent_dropout": Range(0.05, 0.15),
        },
    ),
    "seconds": (
        StudySettings(("lstm", "hyper-lstm"), 50_000, trials=3, trial_steps=4, seeds=(1, 2), pruning=Pruning(1)),
        TextConfig(
            corpus="tiny-shakespeare",
            model=CharacterModelConfig(embedding_size=5),
            schedule=Schedule(steps=6, warmup=1, evaluate_every=2, log_every=2),
            batch_size=3,
            length=7,
            validation_characters=200,
        ),
        {
            "schedule.learning_rate": Range(1e-3, 1e-1, log=True),
            "model.dropout": Range(0.0, 0.3),
            "model.hyper_size": Choices((4, 6)),
            "model.hyper_embedding_size": Choices((2,)),
        },
    ),
}
"""The studies of `--preset`: what they do, the settings of their runs, and their search spaces."""

STUDIES_IN_WORDS: Final = {
    "tiny-shakespeare-350k": "eight networks of 350,000 parameters on Tiny Shakespeare",
    "tiny-shakespeare-1m": "three networks of 1,350,000 parameters, with more steps",
    "seconds": "two tiny networks for a few steps, to see what a study writes",
}
"""What `--help` says of each."""
