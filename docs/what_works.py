"""Writes the table of docs/what-works.md from runs of the matrix of architectures: `python docs/what_works.py`."""

import sys
import warnings
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "what-works.md"
START, END = "<!-- table: docs/what_works.py -->", "<!-- end of the table -->"
sys.path.insert(0, str(ROOT))

from tests.weights.zoo.comparison import GENERATORS, autocast, checkpointed, compare, network  # noqa: E402
from tests.weights.zoo.matrix import ARCHITECTURES  # noqa: E402


def rows() -> list[list[str]]:
    """One row for each architecture, from comparisons that passed."""
    found = []
    for architecture in ARCHITECTURES:
        torch.manual_seed(0)
        most = max(
            sum(value.numel() for value in network(architecture, generator, False, False)._own().values())
            for generator in GENERATORS
        )
        paths = [compare(architecture, generator, False, True, bool(architecture.mask)) for generator in GENERATORS]
        dtypes = sorted(
            {autocast(architecture, generator) for generator in GENERATORS} if architecture.autocasts else ()
        )
        found.append(
            [
                architecture.name,
                architecture.library,
                f"{most:,}",
                *paths,
                f"{checkpointed(architecture, False)} / {checkpointed(architecture, True)}",
                ", ".join(dtypes) or "an error",
            ]
        )
        print(*found[-1], sep=" | ", flush=True)
    return found


def main() -> None:
    """Write the table into the page."""
    warnings.simplefilter("ignore")  # those of the libraries are their own
    torch.set_num_threads(1)
    heads = ["architecture", "library", "generated", *GENERATORS, "checkpointing", "autocast"]
    lines = [heads, ["---"] * len(heads), *rows()]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{START}\n\n{table}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
