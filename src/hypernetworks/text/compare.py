"""Networks of equal size, trained on the same text for the same steps, beside each other: what each reaches, what it costs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from rich.table import Table

from hypernetworks.errors import UsageError
from hypernetworks.experiments.compare import Experiment, mean_curve, speed, spread, train_all, write_rows
from hypernetworks.files import write_whole
from hypernetworks.runs.curve import Curve, curve_of, draw
from hypernetworks.runs.run import Run
from hypernetworks.text.config import TextConfig, read_run_config
from hypernetworks.text.corpus import Corpus
from hypernetworks.text.model import Network, count_parameters, flops_per_character, match_parameters
from hypernetworks.text.train import CharacterTask, resume, train


@dataclass(frozen=True)
class Row:
    """One network's line of the table, over all its seeds."""

    network: str
    hidden_size: int
    parameters: int
    flops_per_character: int
    """Of a forward pass: see `model.flops_per_character`."""
    characters_per_second: float
    """Read while training, validations left out; mean over seeds."""
    validation_bpc: list[float]
    """The best validation of each seed, bits per character."""
    runs: list[str]

    @property
    def bpc(self) -> str:
        """Mean over seeds, with the standard deviation where there are several."""
        return spread(self.validation_bpc, digits=3)


def matched(
    config: TextConfig, networks: Sequence[Network], parameters: int, symbols: int
) -> dict[Network, TextConfig]:
    """The config for each network, hidden_size chosen so that all have this many parameters within 1 %."""
    if len(set(networks)) != len(networks):
        raise UsageError(f"networks should all be different, got {' '.join(networks)}")
    configs: dict[Network, TextConfig] = {}
    for name in networks:
        model = match_parameters(replace(config.model, network=name), symbols, parameters)
        configs[name] = replace(config, model=model)
    return configs


def compare(
    folder: Path, configs: Mapping[Network, TextConfig], seeds: Sequence[int], corpus: Corpus, go_on: bool
) -> list[Row]:
    """Train every config with every seed, each in a run folder of its own below `folder`; write table and plot there.

    With go_on, runs that are there are resumed (finished ones only read), so a comparison can be interrupted.
    Writes compare.json and, where matplotlib is installed, compare.svg; returns the rows in the order of `configs`.
    """
    experiment = Experiment(
        config_of=lambda run: read_run_config(run.config, str(run.folder))[0],
        train=lambda place, config: train(place, config, corpus, place.name),
        resume=lambda place: resume(place, corpus, place.name),
    )
    runs = train_all(folder, configs, seeds, experiment, go_on)
    rows = [row_of(configs[name], runs[name], len(corpus.alphabet)) for name in configs]
    write_rows(folder, rows)
    return rows


def row_of(config: TextConfig, runs: Sequence[Run], symbols: int) -> Row:
    """The line of a network, from its runs, one for each seed, and the number of symbols that it knows."""
    metrics = [run.metrics() for run in runs]
    return Row(
        network=config.model.network,
        hidden_size=config.model.hidden_size,
        parameters=count_parameters(config.model, symbols),
        flops_per_character=flops_per_character(config.model, symbols),
        characters_per_second=mean(speed(rows, CharacterTask.unit) for rows in metrics),
        validation_bpc=[min(bpc for _, bpc in curve_of(rows, "validation_bpc")) for rows in metrics],
        runs=[str(run.folder) for run in runs],
    )


def table(rows: Sequence[Row]) -> Table:
    """The rows for the terminal, best first."""
    shown = Table("network", title="Networks of equal size on the same text")
    for heading in ("hidden", "parameters", "FLOPs/char", "chars/s", "bits/char"):
        shown.add_column(heading, justify="right")
    for row in sorted(rows, key=lambda row: mean(row.validation_bpc)):
        shown.add_row(
            row.network,
            str(row.hidden_size),
            f"{row.parameters:,}",
            f"{row.flops_per_character:,}",
            f"{row.characters_per_second:,.0f}",
            row.bpc,
        )
    return shown


def plot(folder: Path, rows: Sequence[Row], title: str) -> Path:
    """Write compare.svg, the validation curves (mean over seeds) over the training losses; ImportError without matplotlib."""
    validation: dict[str, Curve] = {}
    training: dict[str, Curve] = {}
    for row in rows:
        metrics = [Run.open(Path(run)).metrics() for run in row.runs]
        validation[row.network] = mean_curve([curve_of(rows, "validation_bpc") for rows in metrics])
        losses = mean_curve([curve_of(rows, "loss") for rows in metrics])
        training[row.network] = [(step, loss / math.log(2)) for step, loss in losses]
    picture = draw(validation, "bits per character", title, faint=training)
    write_whole(folder / "compare.svg", picture.encode())
    return folder / "compare.svg"
