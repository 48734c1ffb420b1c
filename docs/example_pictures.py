"""Draw the pictures of the examples from what their programs printed, benchmarks/results/examples: no number is typed.

python docs/example_pictures.py            writes docs/images/examples
python docs/example_pictures.py --check    exits with 1 if a picture is not what the records say

The picture of implicit_image.py is its own: `--picture`.
"""

import argparse
import json
import re
import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import fmean

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / "benchmarks" / "results" / "examples"
PICTURES = ROOT / "docs" / "images" / "examples"

ROW = 24
STYLE = """
    .chart {
      color-scheme: light dark;
      --ink: var(--color-foreground-primary, light-dark(#1f2328, #e6edf3));
      --quiet: var(--color-foreground-secondary, light-dark(#59636e, #9198a1));
      --faint: var(--color-background-border, light-dark(#d1d9e0, #3d444d));
      --accent: light-dark(#b3541e, #f0883e);
    }
    [data-theme="light"] .chart { color-scheme: light; }
    [data-theme="dark"] .chart { color-scheme: dark; }
    .chart text { font: 13px system-ui, sans-serif; fill: var(--ink); }
    .chart .note { font-size: 12px; fill: var(--quiet); }
    .chart .end { text-anchor: end; }
    .chart .middle { text-anchor: middle; }
    .chart .line { stroke: var(--faint); stroke-width: 1; }
    .chart .series0 { fill: var(--accent); stroke: var(--accent); }
    .chart .series1 { fill: none; stroke: var(--ink); }
    .chart .series2 { fill: none; stroke: var(--quiet); }
    .chart .mark { stroke-width: 1.5; }
"""


@dataclass
class Chart:
    """Rows of marks on one axis. Each row has for each series its values, one for each seed."""

    title: str
    unit: str
    ends: tuple[float, float]
    ticks: list[float]
    series: list[str]
    """The first is what the example is about, and is drawn in colour."""
    rows: dict[str, list[list[float]]]
    """A row without values is a heading."""
    width: int = 360

    @property
    def left(self) -> float:
        """Where the axis begins: after the longest name."""
        return 24 + 6.9 * max(map(len, [*self.rows, self.unit]))

    def svg(self) -> str:
        """The picture. It follows the theme of the page that holds it."""
        height = 52 + ROW * len(self.rows) + 34
        bottom = height - 34
        parts = [
            f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {height}" width="{self.width}" '
            'role="img" style="max-width: 100%; height: auto">',
            f"<title>{escape(self.title)}</title>",
            f"<desc>{escape(self._described())}</desc>",
            f"<style>{STYLE}</style>",
        ]
        x = 8.0
        for k, name in enumerate(self.series):
            parts += [_mark(k, x + 6, 18), f'<text x="{x + 18:.0f}" y="22">{escape(name)}</text>']
            x += 34 + 7.2 * len(name)
        for tick in self.ticks:
            at = self._x(tick)
            parts.append(f'<path d="M{at:.1f} 40V{bottom}" class="line"/>')
            parts.append(f'<text x="{at:.1f}" y="{bottom + 16}" class="note middle">{tick:g}</text>')
        parts.append(f'<text x="{self.left - 10:.1f}" y="{bottom + 16}" class="note end">{escape(self.unit)}</text>')
        for number, (name, values) in enumerate(self.rows.items()):
            y = 52 + ROW * number + ROW / 2 - 4
            style = "end" if values else "note end"
            parts.append(f'<text x="{self.left - 10:.1f}" y="{y + 4.5:.1f}" class="{style}">{escape(name)}</text>')
            for k in reversed(range(len(values))):
                parts += [_mark(k, self._x(value), y) for value in values[k]]
        return "\n".join([*parts, "</svg>", ""])

    def _x(self, value: float) -> float:
        low, high = self.ends
        return self.left + (self.width - 18 - self.left) * (value - low) / (high - low)

    def _described(self) -> str:
        """The means, for those who do not see the picture."""
        lines = [
            f"{name}: " + ", ".join(f"{self.series[k]} {fmean(found):.3g}" for k, found in enumerate(values))
            for name, values in self.rows.items()
            if values
        ]
        return f"Means in {self.unit}. " + "; ".join(lines) + "."


def _mark(series: int, x: float, y: float) -> str:
    """A dot, a ring or a cross, so that the series differ without colours, too."""
    style = f'class="mark series{series}"'
    if series < 2:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{4 if series == 0 else 4.5}" {style}/>'
    return f'<path d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8" {style}/>'


def _text(name: str) -> str:
    return (RECORDS / name).read_text(encoding="utf-8")


def _runs(name: str) -> list[dict[str, float]]:
    return json.loads(_text(name))["runs"]


def continual() -> Chart:
    """Accuracy of each pair of digits after the last pair was learned."""
    found: dict[bool, list[list[float]]] = {True: [], False: []}
    regularised = True
    for line in _text("split-mnist.txt").splitlines():
        if line.startswith("$"):
            regularised = "--strength 0" not in line
        if after := re.match(r"\s*(with|without)?(?: the regulariser, )?after all tasks((?:\s+\d+\.\d\d)+)$", line):
            kind = after[1] == "with" if after[1] else regularised
            found[kind].append([float(value) for value in after[2].split()])
    pairs = ["0 or 1", "2 or 3", "4 or 5", "6 or 7", "8 or 9"]
    rows = {pair: [[run[k] for run in found[kind]] for kind in (True, False)] for k, pair in enumerate(pairs)}
    return Chart(
        "Accuracy on each pair of digits after the last one was learned",
        "% right",
        (0, 100),
        [0, 25, 50, 75, 100],
        ["with the regulariser", "without"],
        rows,
    )


def pareto() -> Chart:
    """Both losses against each other: how much of the front is found, and how unequal the weighted losses are."""
    runs = _runs("pareto.json")
    kinds = ("Chebyshev", "weighted sum")
    rows = {
        "area, of the front's": [[100 * run[kind] / run["whole front"] for run in runs] for kind in kinds],
        "imbalance": [[100 * run[f"{kind}, imbalance"] for run in runs] for kind in kinds],
    }
    return Chart(
        "The front found and the imbalance of the losses, for two ways to combine them",
        "%",
        (0, 100),
        [0, 25, 50, 75, 100],
        list(kinds),
        rows,
    )


def federated() -> Chart:
    """Mean accuracy over the clients."""
    names = {"pFedHN": "hypernetwork", "local": "each alone", "FedAvg": "one for all"}
    runs = _runs("federated.json")
    rows = {words: [[run[name] for run in runs]] for name, words in names.items()}
    return Chart(
        "Mean accuracy over the clients", "% right", (0, 100), [0, 25, 50, 75, 100], ["one dot for each seed"], rows
    )


def lora() -> Chart:
    """Digits transformed in six ways, before and after the generated update."""
    lines = re.findall(r"^(\S.*?)\s{2,}(\d+\.\d)\s+(\d+\.\d)$", _text("lora.txt"), re.MULTILINE)
    rows = {task: [[float(after)], [float(before)]] for task, before, after in lines}
    return Chart(
        "Accuracy on digits transformed in six ways",
        "% right",
        (0, 100),
        [0, 25, 50, 75, 100],
        ["with the generated LoRA", "frozen network"],
        rows,
    )


def text_to_lora() -> Chart:
    """Loss on each form of the text."""
    short = {"in upper case": "upper case", "with dashes for spaces": "dashes", "with other vowels": "vowels"}
    found: dict[str, dict[str, list[list[float]]]] = {"shown": {}, "only described": {}}
    pattern = r"^ +(\S.*?) {2,}(shown|only described) +(\d\.\d\d) +(\d\.\d\d) +(\d\.\d\d)"
    for task, kind, frozen, own, generated in re.findall(pattern, _text("text-to-lora.txt"), re.MULTILINE):
        words = " + ".join(short.get(word, word) for word in task.split(" and "))
        values = found[kind].setdefault(words, [[], [], []])
        for series, value in zip(values, (generated, own, frozen), strict=True):
            series.append(float(value))
    rows: dict[str, list[list[float]]] = {"tasks shown in training": []}
    rows |= found["shown"] | {"tasks only described": []} | found["only described"]
    return Chart(
        "Loss on each form of the text, three seeds",
        "nats per character",
        (2, 6),
        [2, 3, 4, 5, 6],
        ["generated LoRA", "own LoRA", "frozen model"],
        rows,
        width=600,
    )


CHARTS = {
    "continual": continual,
    "pareto": pareto,
    "federated": federated,
    "lora": lora,
    "text-to-lora": text_to_lora,
}


def main(arguments: list[str]) -> int:
    """Write or check the pictures; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    given = parser.parse_args(arguments)
    old = []
    for name, chart in CHARTS.items():
        path, drawn = PICTURES / f"{name}.svg", chart().svg()
        if given.check and (not path.is_file() or path.read_text(encoding="utf-8") != drawn):
            old.append(path.name)
        if not given.check:
            path.write_text(drawn, encoding="utf-8")
    if old:
        print(f"not what the records say: {', '.join(old)}; run python docs/example_pictures.py", file=sys.stderr)
    return int(bool(old))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
