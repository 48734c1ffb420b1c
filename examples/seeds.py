"""What the examples share: a command line, and an experiment repeated with several seeds.

    python examples/NAME.py --seeds 5 --steps 2000 --out result.json

--seeds N runs the seeds 0 … N − 1. It prints the figures of each, then mean ± standard deviation. --out FILE.json writes them
all. --first-seed S runs S … S + N − 1.
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch

from hypernetworks.errors import FaultError, UsageError


class Parser(argparse.ArgumentParser):
    """Reports a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def count(text: str) -> int:
    """A whole number, at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def number(text: str) -> float:
    """A finite number, at least 0."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a finite number of at least 0, got {text!r}")
    return value


def path(text: str) -> Path:
    """A file or folder, which need not exist, in a folder that does."""
    if not Path(text).parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r}: there is no folder {str(Path(text).parent)!r}")
    return Path(text)


def or_one_line(parser: Parser, run: Callable[[], Any]) -> Any:
    """What `run` returns. A mistake by the user or a problem of the environment ends the program with one line."""
    try:
        return run()
    except UsageError as error:
        parser.error(str(error))
    except FaultError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


def over_seeds(
    experiment: Callable[..., dict[str, float]], arguments: Sequence[str] | None = None, **settings: Any
) -> dict[str, Any]:
    """Read the command line and run the experiment with each seed.

    Args:
        experiment: called as experiment(seed=..., **settings). It returns its figures by name.
        arguments: of the command line. The default is sys.argv.
        settings: the experiment's options with their defaults: whole numbers, numbers, a tuple of names of which the first is
            the default, or None for a path.

    Returns:
        What --out writes.
    """
    parser = Parser()
    parser.add_argument("--seeds", type=count, default=1, help="how many seeds to run, by default 1")
    parser.add_argument("--first-seed", type=int, default=0, help="the first of them, by default 0")
    parser.add_argument("--out", type=path, help="a JSON file for the figures")
    for name, default in settings.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(default, tuple):
            parser.add_argument(flag, choices=default, default=default[0], help=f"by default {default[0]}")
        else:
            kind = {int: count, float: number, type(None): path}[type(default)]
            parser.add_argument(flag, type=kind, default=default, help=f"by default {default}")
    chosen = vars(parser.parse_args(arguments))
    seeds, first, out = chosen.pop("seeds"), chosen.pop("first_seed"), chosen.pop("out")
    if out and out.is_dir():
        parser.error(f"--out should be a file, but {str(out)!r} is a folder")

    start, runs = time.perf_counter(), []
    for seed in range(first, first + seeds):
        torch.manual_seed(seed)
        runs.append(or_one_line(parser, partial(experiment, seed=seed, **chosen)))
        figures = ", ".join(f"{name} {value:.4g}" for name, value in runs[-1].items())
        print(f"seed {seed}: {figures}", flush=True)
    values = {name: [run[name] for run in runs] for name in runs[0]}
    result = {
        "program": Path(sys.argv[0]).name,
        "settings": {name: str(value) if isinstance(value, Path) else value for name, value in chosen.items()},
        "seeds": list(range(first, first + seeds)),
        "runs": runs,
        "mean": {name: statistics.mean(each) for name, each in values.items()},
        "deviation": {name: statistics.stdev(each) if seeds > 1 else 0.0 for name, each in values.items()},
        "seconds": round(time.perf_counter() - start),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    for name in values:
        print(f"{name:32}{result['mean'][name]:10.4g} ± {result['deviation'][name]:.2g}")
    if out:
        out.write_text(json.dumps(result, indent=1) + "\n")
    return result
