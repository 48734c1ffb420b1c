"""The report: one page that holds all it needs, escaped, with the run's own numbers."""

import builtins
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch

from hypernetworks.errors import UsageError
from hypernetworks.experiments.report import different_data, load_reported
from hypernetworks.runs.run import Run
from hypernetworks.text.coloured import coloured_text, gates_of
from hypernetworks.text.corpus import load_corpus
from hypernetworks.text.experiment import TEXT, sample, symbols_of
from hypernetworks.text.generate import Sampling
from hypernetworks.text.report import page

CPU = torch.device("cpu")
train = TEXT.train
SHORT = Sampling(length=40, seed=3)
HOSTILE = "<script>alert(1)</script> & \"'</div>\n$x^2$ {{ 7 * 7 }}"
VOID = ("meta", "input", "br", "path", "use", "rect")


class Page(HTMLParser):
    """What a page holds: its elements with their attributes, in order, and its text within each open element."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self.letters: list[tuple[str, dict[str, str | None]]] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((tuple(self.open), data))
        if self.open[-1:] == ["span"] and "title" in self.elements[-1][1]:
            self.letters.append((data, self.elements[-1][1]))

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def rows(self):
        """The cells of all rows of all tables."""
        found = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", self.source)]
        return list(filter(None, found))


@pytest.fixture
def made(tiny, corpus, tmp_path):
    """Two trained runs, a hyper network and a plain one."""
    folders = []
    for network in ("hyper-lstm", "lstm"):
        config = replace(tiny, model=replace(tiny.model, network=network))
        folders.append(train(tmp_path / "runs" / network, config, corpus, network).folder)
    return folders


@pytest.fixture
def hostile(tiny, tmp_path):
    """A run that knows the letters of HOSTILE, in a folder whose name is hostile too."""
    text = tmp_path / "text"
    text.write_text(HOSTILE * 20)
    corpus = load_corpus(str(text))
    return train(tmp_path / '<b>"$x_{1$', replace(tiny, corpus=str(text)), corpus, "a").folder


def test_the_page_has_the_runs_numbers(made):
    loaded = [load_reported(TEXT, folder, CPU) for folder in made]
    shown = Page(page(loaded, SHORT, None))
    run, rows = Run.open(made[0]), shown.rows()
    tensors, metadata = run.best_model()
    total = sum(tensor.numel() for tensor in tensors.values())
    for name, tensor in tensors.items():
        shape = " × ".join(map(str, tensor.shape))
        assert [name, shape, f"{tensor.numel():,}", f"{tensor.numel() / total:.1%}"] in rows
    assert ["all", "", f"{total:,}", "100.0%"] in rows
    assert ["model.hidden_size", "8"] in rows
    assert ["schedule.steps", "6"] in rows
    assert ["versions.torch", torch.__version__] in rows
    assert ["sampling.seed", "3"] in rows
    assert f"(step {metadata['step']})" in shown.source
    names = [row[:2] for row in rows if row[0] in map(str, made)]
    order = sorted(loaded, key=lambda one: one.best)
    assert names == [[one.name, one.config.model.network] for one in order]
    assert len(shown.all("figure")) == 2


def test_the_sample_is_coloured_letter_by_letter_with_its_numbers(made):
    loaded = load_reported(TEXT, made[0], CPU)
    shown = Page(page([loaded], SHORT, None))
    written = sample(loaded.model, symbols_of(loaded.record), SHORT).partition("\n")[2][:-1]
    assert "".join(text for text, _ in shown.letters) == written
    ids = torch.tensor([symbols_of(loaded.record).alphabet.index(c) for c in "\n" + written])
    for (_, attributes), letter in zip(
        shown.letters, coloured_text(loaded.model, symbols_of(loaded.record), ids)[1:], strict=True
    ):
        printed = [float(number) / 100 for number in re.findall(r" ([-+.e\d]+) %(?:,|$)", attributes["title"])]
        assert printed == pytest.approx(letter.changes, rel=6e-3)
        depths = [float(number) for number in re.findall(r"--c\d:([\d.]+);", attributes["style"])]
        assert len(depths) == 4
        assert all(0 <= depth <= 1 for depth in depths)
    # of each gate the largest change has the full colour, and there is a choice of gates with the first one chosen
    for gate in range(4):
        largest = max(shown.letters, key=lambda letter: float(letter[1]["title"].split(", ")[gate].split()[-2]))
        assert f"--c{gate}:1.00;" in largest[1]["style"]
    radios = [attributes for attributes in shown.all("input") if attributes["type"] == "radio"]
    assert [radio["id"] for radio in radios] == [f"gate{k}" for k in range(4)]
    assert ["checked" in radio for radio in radios] == [True, False, False, False]
    assert all(gate in shown.source for gate in gates_of(loaded.model))
    # each gate's scale has numbers at both ends: 95 % of the changes are below the second
    changes = torch.tensor(
        [letter.changes for letter in coloured_text(loaded.model, symbols_of(loaded.record), ids)[1:]]
    )
    ends = re.findall(r'0 % <span class="bar"></span> (\S+) % and more', shown.source)
    assert [float(end) / 100 for end in ends] == pytest.approx(changes.quantile(0.95, dim=0).tolist(), rel=6e-3)


def test_the_first_character_of_a_given_text_has_no_step_and_no_colour(made):
    loaded = load_reported(TEXT, made[0], CPU)
    ids = torch.tensor([symbols_of(loaded.record).alphabet.index(c) for c in "so"])
    source = page([loaded], SHORT, ("given", ids))
    assert re.search(
        r'<span style="" title="no step generated it">s</span><span style="--c0:[^"]*" title="[^"]*">o</span>', source
    )


def test_colours_and_legible_text_are_printed(made):
    """Dark mode has its colours on screens only, and browsers print the colours of the letters."""
    source = page([load_reported(TEXT, made[0], CPU)], SHORT, None)
    assert re.findall(r"@media ([^{]*dark[^{]*) {", source) == ["screen and (prefers-color-scheme: dark)"]
    assert ".letters, .bar { print-color-adjust: exact; }" in source


def test_a_diverged_run_does_not_flatten_the_others(made):
    loaded = [load_reported(TEXT, folder, CPU) for folder in made]
    path = made[1] / "metrics.jsonl"
    path.write_text(re.sub(r'("validation_bpc": )[\d.]+', r"\g<1>26.7", path.read_text()))
    assert "26.700  (above the picture)" in page(loaded, SHORT, None)


def test_runs_on_different_texts_are_named_as_such(made, hostile):
    same = [load_reported(TEXT, folder, CPU) for folder in made]
    assert different_data(TEXT, same) == ""
    mixed = [same[0], load_reported(TEXT, hostile, CPU)]
    said = "These runs were trained and validated on different data, so their scores are not comparable: "
    assert different_data(TEXT, mixed).startswith(f"{said}{made[0]} on {mixed[0].config.corpus}, {hostile} on ")
    assert said in page(mixed, SHORT, None)


def test_a_given_text_is_shown_and_nothing_in_it_is_markup(hostile):
    loaded = load_reported(TEXT, hostile, CPU)
    ids = torch.tensor([symbols_of(loaded.record).alphabet.index(c) for c in HOSTILE])
    shown = Page(page([loaded, loaded], SHORT, ("<i>title", ids)))
    assert "".join(text for text, _ in shown.letters).endswith(HOSTILE)
    assert len(shown.all("script")) == 1
    assert shown.source.count("alert(1)") == 0  # letter by letter, no word is left whole
    assert not shown.all("i")
    assert not shown.all("b")
    assert "&lt;i&gt;title" in shown.source
    assert "49" not in "".join(text for text, _ in shown.letters)


@pytest.mark.parametrize("which", [0, 1])
def test_the_page_fetches_nothing(made, which):
    shown = Page(page([load_reported(TEXT, made[which], CPU)], SHORT, None))
    for tag, attributes in shown.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form", "a")
        assert "src" not in attributes
        assert (attributes.get("xlink:href") or "#").startswith("#")
        assert not any(name.startswith("on") for name in attributes)
    policy = next(one["content"] for one in shown.all("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "url(http" not in shown.source
    assert "@import" not in shown.source


def test_a_network_of_fixed_weights_has_no_colours_and_the_page_says_why(made):
    loaded = load_reported(TEXT, made[1], CPU)
    shown = Page(page([loaded], SHORT, None))
    assert not shown.letters
    assert not shown.all("input")
    assert not shown.all("script")
    assert "No colours: the weights of lstm are the same for every character" in shown.source
    assert sample(loaded.model, symbols_of(loaded.record), SHORT).partition("\n")[2][:-1] in "".join(
        text for path, text in shown.texts if path[-1:] == ("div",)
    )


def test_without_matplotlib_there_are_no_curves_and_the_page_says_so(made, monkeypatch):
    imported = builtins.__import__

    def without(name, *rest, **more):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return imported(name, *rest, **more)

    loaded = load_reported(TEXT, made[0], CPU)
    monkeypatch.setattr(builtins, "__import__", without)
    shown = Page(page([loaded], SHORT, None))
    assert not shown.all("svg")
    assert "No curves: matplotlib was not installed" in shown.source


@pytest.mark.parametrize("kept", ["validation_bpc", "loss"])
def test_a_run_without_the_figures_is_refused(made, kept):
    path = made[0] / "metrics.jsonl"
    lines = [line for line in path.read_text().splitlines(keepends=True) if f'"{kept}"' in line]
    path.write_text("".join(lines))
    with pytest.raises(UsageError, match=r"metrics.jsonl has no (loss|validation_bpc)"):
        load_reported(TEXT, made[0], CPU)
