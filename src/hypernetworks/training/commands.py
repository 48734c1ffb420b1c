"""What the commands of all experiments share: the flags that decide what the other flags change."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from hypernetworks.training.errors import UsageError

Preset = TypeVar("Preset")


def scan(arguments: Sequence[str]) -> argparse.Namespace:
    """The flags --preset, --kernels, --out and --resume among others, before these are parsed."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--preset")
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


def refuse_preset_of_resumed(preset: str | None) -> None:
    """UsageError where a run that goes on was given a preset, too."""
    if preset is not None:
        raise UsageError(f"a run that goes on has its own settings: give --resume or --preset {preset}, not both")
