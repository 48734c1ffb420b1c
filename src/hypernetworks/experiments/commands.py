"""What the commands of all experiments share: the flags that decide what the other flags change."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hypernetworks.errors import UsageError
from hypernetworks.experiments.begin import goes_on
from hypernetworks.experiments.config import differences
from hypernetworks.files import json_object, read_whole
from hypernetworks.processes import is_first
from hypernetworks.runs.machine import other_surroundings
from hypernetworks.runs.run import CONFIG_LIMIT, Run

Preset = TypeVar("Preset")
Settings = TypeVar("Settings")


def scan(arguments: Sequence[str]) -> argparse.Namespace:
    """The flags --preset, --config, --kernels, --out and --resume among others, before these are parsed."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--preset")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--kernels")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--resume", action="store_true")
    try:
        return parser.parse_known_args(arguments)[0]
    except argparse.ArgumentError as error:
        raise UsageError(str(error)) from error


def find_preset(presets: Mapping[str, Preset], name: str) -> Preset:
    """The preset of a name; UsageError where there is none."""
    if name not in presets:
        raise UsageError(f"preset should be one of {', '.join(presets)}, got {name!r}")
    return presets[name]


def origin(
    flags: argparse.Namespace,
    read: Callable[[Mapping[str, Any], str], Settings],
    out: Path,
    preset: Callable[[], Settings],
) -> Settings:
    """What the other flags change: the settings of --config, with --resume those of the run in --out, else the preset's.

    read: makes settings of what a config.json says; `out` is where runs lie without --out.

    Raises:
        UsageError: the settings should come from more than one of preset, config and run; or from none that is there.
    """
    given = [name for name in ("preset", "config", "resume") if getattr(flags, name)]
    if len(given) > 1:
        raise UsageError(
            f"the settings come from one of --preset, --config and --resume, got --{' and --'.join(given)}"
        )
    if flags.config:
        return read(read_config(flags.config), str(flags.config))
    if flags.resume:
        folder = flags.out or out
        return read(Run.open(folder).config, str(folder))
    return preset()


def goes_on_with(run: Path, resume: bool, read: Callable[[Mapping[str, Any], str], Settings], given: Settings) -> bool:
    """Whether to go on with a run, as `goes_on` has it; UsageError where the settings given are not the run's own."""
    resumed = goes_on(run, resume)
    if resumed and (changed := differences(read(Run.open(run).config, str(run)), given)):
        raise UsageError(f"{run}: a run goes on with its own settings, but was given {changed}")
    return resumed


def read_config(path: Path) -> dict[str, Any]:
    """What the config.json of a run says; UsageError where it is none."""
    return json_object(read_whole(path, CONFIG_LIMIT), str(path))


def tell_other_surroundings(config: Mapping[str, Any], path: Path) -> None:
    """A line on standard error where versions or machine are not those of the run that is done again."""
    if (other := other_surroundings(config)) and is_first():
        print(f"{path}: done again with {other}: the last bits of its numbers may differ", file=sys.stderr)
