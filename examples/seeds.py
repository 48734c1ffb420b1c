"""What the examples share: a command line, and an experiment repeated with several seeds.

    python examples/NAME.py --seeds 5 --steps 2000 --out result.json

--seeds N runs the seeds 0 … N − 1. It prints the figures of each, then mean ± standard deviation. --out FILE.json writes them
all. --first-seed S runs S … S + N − 1.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch


def over_seeds(
    experiment: Callable[..., dict[str, float]], arguments: Sequence[str] | None = None, **settings: Any
) -> dict[str, Any]:
    """Read the command line and run the experiment with each seed.

    Args:
        experiment: called as experiment(seed=..., **settings). It returns its figures by name.
        arguments: of the command line. The default is sys.argv.
        settings: the defaults of the experiment's options. Each has the type of its default.

    Returns:
        What --out writes.
    """
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds to run")
    parser.add_argument("--first-seed", type=int, default=0, help="the first of them")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    for name, default in settings.items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(default), default=default)
    chosen = vars(parser.parse_args(arguments))
    seeds, first, out = chosen.pop("seeds"), chosen.pop("first_seed"), chosen.pop("out")

    start, runs = time.perf_counter(), []
    for seed in range(first, first + seeds):
        torch.manual_seed(seed)
        runs.append(experiment(seed=seed, **chosen))
        figures = ", ".join(f"{name} {value:.4g}" for name, value in runs[-1].items())
        print(f"seed {seed}: {figures}", flush=True)
    values = {name: [run[name] for run in runs] for name in runs[0]}
    result = {
        "program": Path(sys.argv[0]).name,
        "settings": chosen,
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
