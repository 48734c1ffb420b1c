"""Write the tables of studies into docs/results.md, from the records of finished studies: no number is typed.

python docs/study_tables.py            writes the page, and the README's picture
python docs/study_tables.py --check    exits with 1 if the page is not what the records say

A record is a folder of benchmarks/results/studies with study.json, results/ and, if they were measured, step-times.json and
equal-time.json, as `hypernetworks text study` makes them, and fixed-scales.json of benchmarks/fixed_scales.py. The page has a
place for each, between two comments:

    <!-- study NAME -->
    <!-- end of NAME -->

A place whose record is missing stays empty. Folders NAME and NAME+OTHER are reported as one study: the second has variants that
were searched later, with the same budget, corpus, size and seeds.
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypernetworks.experiments.record import Record, read_record
from hypernetworks.experiments.statistics import paired_difference, spread
from hypernetworks.experiments.study_report import study_pictures
from hypernetworks.experiments.study_tables import (
    Runs,
    by_variant,
    cost_table,
    difference_table,
    equal_time_table,
    scores,
)
from hypernetworks.experiments.variants import network_of
from hypernetworks.recurrent.families import FAMILIES
from hypernetworks.text.experiment import TEXT

ROOT = Path(__file__).parents[1]
PAGE, RECORDS = ROOT / "docs/results.md", ROOT / "benchmarks/results/studies"
SHOWN, PICTURE = "tiny-shakespeare-350k", ROOT / "docs/images/study.svg"
"""The study of the README's picture."""
PLACE = re.compile(r"<!-- study (?P<name>[\w-]+) -->\n(?P<text>.*?)<!-- end of (?P=name) -->\n", re.DOTALL)
NEIGHBOURS = (
    "Published on Penn Treebank characters, at unequal sizes, in bits per character of the test split "
    "([arXiv 1609.09106](https://arxiv.org/abs/1609.09106)): LSTM 1.312 (4.25 M parameters), layer-norm LSTM 1.267 (4.26 M), "
    "HyperLSTM 1.265 (4.91 M), layer-norm HyperLSTM 1.250 (4.92 M). The last is 0.017 bits, or 0.012 nats, below the "
    "layer-norm LSTM."
)
PAIRS = (
    ("hyper-lstm", "layer-norm-lstm"),
    ("hyper-lstm-without-norm", "lstm"),
    ("hyper-lstm", "lstm"),
    ("hyper-gru", "gru"),
    ("hyper-rhn", "rhn"),
)
"""The comparisons that the page puts into words: a hyper network and the network whose weights it generates."""
SAME = ("trials", "trial_steps", "seeds", "pruning", "parameters", "space", "settings")
"""What studies that are reported as one must share."""


def written(page: str, records: Path) -> str:
    """The page with the tables of all records that it has places for."""

    def place(match: re.Match[str]) -> str:
        name = match["name"]
        folders = [records / name, *sorted(records.glob(f"{name}+*"))]
        text = section(name, folders) if folders[0].is_dir() else ""
        return f"<!-- study {name} -->\n{text}<!-- end of {name} -->\n"

    return PLACE.sub(place, page)


def section(name: str, folders: list[Path]) -> str:
    """The tables of a study, and the command that made it."""
    plans = [json.loads((folder / "study.json").read_text())["plan"] for folder in folders]
    for folder, plan in zip(folders, plans, strict=True):
        if changed := [key for key in SAME if plan[key] != plans[0][key]]:
            raise SystemExit(f"{folder}: differs from {folders[0]} in {', '.join(changed)}")
    record = merged([read_record(folder) for folder in folders])
    rows = by_variant(record.results)
    if missing := [
        f"{variant} seed {seed}"
        for plan in plans
        for variant in plan["variants"]
        for seed in plan["seeds"]
        if seed not in rows.get(variant, {})
    ]:
        raise SystemExit(f"{folders[0]}: not finished: {', '.join(missing)}")
    plan = plans[0]
    lines = [
        f"### {plan['parameters']:,} parameters, each network with its best settings",
        "",
        f"Networks of {plan['parameters']:,} parameters on {plan['settings']['corpus']}, {plan['trials']} trials each of "
        f"{plan['trial_steps'] or plan['settings']['schedule']['steps']:,} steps, then "
        f"{plan['settings']['schedule']['steps']:,} steps with seeds {' '.join(map(str, plan['seeds']))}. Validation loss in "
        "nats per character, mean ± standard deviation; settings and the step of the best model were selected on it.",
        "",
        *cost_table(TEXT, rows, record.results, record.step_times),
        "",
        *differences(rows),
    ]
    if record.at_equal_time:
        equal = by_variant(record.at_equal_time)
        lines += [
            "At equal training time, each network with as many steps as fit in the time of the slowest:",
            "",
            *equal_time_table(TEXT, equal),
            "",
            *differences(equal),
        ]
    if (moving := folders[0] / "fixed-scales.json").exists():
        lines += [*fixed_scales_table(json.loads(moving.read_text())), ""]
    if name == SHOWN:
        lines += [NEIGHBOURS, ""]
    lines += ["```sh", *(command(name, plan) for plan in plans), "```", ""]
    lines += [f"Machine: {machine(record)}.", ""]
    return "\n".join(lines)


def differences(rows: Mapping[str, Runs]) -> list[str]:
    """Paired differences of the hyper networks to the plain ones, and of variants to their network as it is."""
    plain = {variant: runs for variant, runs in rows.items() if not FAMILIES[network_of(variant)].is_hyper}
    hyper = {variant: runs for variant, runs in rows.items() if variant not in plain}
    lines = [*verdicts(rows), ""]
    if plain and hyper:
        lines += [
            "Paired differences, hyper network minus plain network, with the 95 % t interval over seeds:",
            "",
            *difference_table(hyper, plain),
            "",
        ]
    for network, runs in rows.items():
        if variants := {name: own for name, own in rows.items() if name.startswith(f"{network}:")}:
            lines += [f"Variants minus {network}:", "", *difference_table(variants, {network: runs}), ""]
    return lines


def verdicts(rows: Mapping[str, Runs]) -> list[str]:
    """What the paired differences of `PAIRS` say, in words."""
    lines = []
    for hyper, plain in PAIRS:
        if hyper not in rows or plain not in rows:
            continue
        found = paired_difference(scores(rows[hyper]), scores(rows[plain]))
        low, high = sorted((abs(found.low), abs(found.high)))
        if found.low <= 0 <= found.high:
            said = f"no difference is shown, {found.text(4)}"
        else:
            said = f"{'lower' if found.mean < 0 else 'higher'} by {abs(found.mean):.4f} nats ({low:.4f} to {high:.4f})"
        lines.append(f"- {FAMILIES[hyper].title} against {FAMILIES[plain].title}: {said}.")
    return lines


def fixed_scales_table(found: dict[str, dict[str, float]]) -> list[str]:
    """How much moving weights give, from fixed-scales.json: the losses by seed."""
    moving = [losses["moving"] for losses in found.values()]
    lines = [
        "How much moving weights give: HyperLSTM as it is, with every scale frozen at its mean after training, and trained "
        "with fixed scales:",
        "",
        "| scales | validation loss | difference to moving |",
        "|---|---|---|",
    ]
    for name in ("moving", "frozen", "fixed"):
        values = [losses[name] for losses in found.values()]
        difference = "" if name == "moving" else paired_difference(values, moving).text(4)
        lines.append(f"| {name} | {spread(values, 4)} | {difference} |")
    return [*lines, "", "```sh", "python benchmarks/fixed_scales.py runs/STUDY --out runs/fixed-scales", "```"]


def merged(records: list[Record]) -> Record:
    """Several records as one. Step times are comparable only if all were measured together, so those of the first are kept."""
    if len(records) == 1:
        return records[0]
    results = [result for record in records for result in record.results]
    return Record(results, records[0].step_times, records[0].at_equal_time)


def command(name: str, plan: dict[str, Any]) -> str:
    """The command of a study."""
    return f"hypernetworks text study --preset {name} --networks {' '.join(plan['variants'])} --out runs/{name}"


def machine(record: Record) -> str:
    """The processors and versions of the final runs."""
    found = {
        f"{run.environment['machine']['processor']}, {run.environment['machine']['threads']} thread, "
        f"torch {run.environment['versions']['torch']}"
        for run in record.results
        if run.is_final
    }
    return "; ".join(sorted(found))


def main(arguments: list[str] | None = None) -> int:
    """Write or check the page; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    given = parser.parse_args(arguments)
    before = PAGE.read_text(encoding="utf-8")
    after = written(before, RECORDS)
    if given.check:
        return int(before != after)
    PAGE.write_text(after, encoding="utf-8")
    record = read_record(RECORDS / SHOWN)
    PICTURE.write_text(study_pictures(record, "Tiny Shakespeare, 350,000 parameters each")[""], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
