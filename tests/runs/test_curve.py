"""Pictures of learning curves: every point and name is in them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hypernetworks.runs.curve import curve_of, draw, draw_run, highest_shown
from hypernetworks.runs.run import Run

pytest.importorskip("matplotlib")


def texts(picture: str) -> list[str]:
    """What is written in an SVG: matplotlib draws letters as paths and notes each text in a comment."""
    return re.findall(r"<!-- (.*?) -->", picture, re.DOTALL)


def corners(picture: str) -> list[int]:
    """How many points each line of a curve has: those that are drawn without a fill in a colour of the cycle."""
    lines = re.findall(r'<path d="([^"]*)"[^>]*style="fill: none; stroke: #(?!000000|b0b0b0)', picture)
    return [len(re.findall("[ML]", line)) for line in lines]


def test_a_curve_is_the_rows_that_have_the_figure() -> None:
    rows = [{"step": 1, "loss": 3.0}, {"step": 2, "bpc": 4.0}, {"step": 3, "loss": 2.0}]
    assert curve_of(rows, "loss") == [(1, 3.0), (3, 2.0)]
    assert curve_of(rows, "none") == []


def test_every_curve_is_drawn_with_its_last_value_and_the_faint_ones_behind() -> None:
    curves = {"a": [(1, 3.0), (2, 2.0), (5, 1.23456)], "b": [(1, 2.5), (5, 2.0)]}
    picture = draw(curves, "bits", "title", faint={"a": [(step, 4.0 / step) for step in range(1, 8)]})
    assert picture.startswith("<?xml")
    assert {"a  1.235", "b  2.000", "bits", "title", "step"} <= set(texts(picture))
    assert [count for count in corners(picture) if count in (3, 2, 7)][:3] == [7, 3, 2]


def test_a_curve_far_above_the_others_leaves_the_picture_and_the_legend_says_so() -> None:
    """A diverged run would flatten the others. Without it, the others are drawn at the same place."""
    curves = {"a": [(1, 3.4), (2, 2.0)], "b": [(1, 3.6), (2, 2.5)], "c": [(1, 26.7), (2, 26.0)]}
    assert highest_shown(curves.values()) == 3.6
    assert highest_shown([curves["a"], curves["b"]]) == 3.6
    assert highest_shown([curves["a"], curves["c"]]) == 3.4
    picture = draw(curves, "bits", "title", top=3.6)
    assert "c  26.000  (above the picture)" in texts(picture)
    assert "b  2.500" in texts(picture)
    ticks = [
        max(float(text) for text in texts(drawn) if re.fullmatch(r"[\d.]+", text))
        for drawn in (picture, draw(curves, "bits", "title"))
    ]
    assert 3 < ticks[0] < 4
    assert ticks[1] > 20


def test_points_above_the_picture_are_marked_at_its_edge() -> None:
    """Where the validation blew up and came back, the edge has a triangle for each point that it hides."""
    curves = {"a": [(1, 3.0), (2, 9.0), (3, 8.0), (4, 2.0)], "b": [(1, 2.9), (2, 2.0)]}
    faint = {"a": [(1, 3.1), (4, 2.0)]}
    marked, whole = draw(curves, "bits", "title", faint=faint), draw({"b": curves["b"]}, "bits", "title", faint=faint)
    assert "a  2.000  (partly above the picture)" in texts(marked)
    assert "b  2.000" in texts(marked)

    def triangles(picture: str) -> int:
        shapes = re.findall(r'<path id="(\w+)" d="M 0 -3 \s*L -3 3 \s*L 3 3', picture)
        return sum(len(re.findall(rf'<use xlink:href="#{shape}"', picture)) for shape in shapes)

    assert (triangles(marked), triangles(whole)) == (2, 0)


def test_names_that_the_font_lacks_are_text() -> None:
    """No warning (warnings are errors here), and no empty boxes: the viewer's fonts have the characters."""
    picture = draw({"权重": [(1, 1.0), (2, 0.5)]}, "bits", "né")
    assert re.search(r"<text[^>]*>权重  0.500</text>", picture)
    assert "<text" not in draw({"é": [(1, 1.0), (2, 0.5)]}, "bits", "title")


def test_a_caption_is_below_the_picture_in_lines_that_fit() -> None:
    words = "What a $picture$ shows and what it does not show. " * 5
    drawn = texts(draw({"a": [(1, 1.0), (2, 0.5)]}, "y", "t", caption=words))
    shown = [line.replace("\\$", "$") for text in drawn for line in text.splitlines() if line.count(" ") > 3]
    assert " ".join(shown).split() == words.split()
    assert 2 <= len(shown) <= 4
    assert max(map(len, shown)) <= 110


def test_the_same_curves_make_a_picture_without_a_date() -> None:
    picture = draw({"a": [(1, 1.0), (2, 0.5)]}, "y", "t")
    assert "<dc:date>" not in picture


def test_a_run_is_drawn_into_its_folder(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "some-run", {})
    for step in (1, 2):
        run.record({"step": step, "loss": 2.0 / step})
    run.record({"step": 2, "validation_loss": 1.75})
    draw_run(run)
    assert {"some-run", "validation  1.750", "training  1.000"} <= set(texts((run.folder / "curve.svg").read_text()))


def test_a_notebook_shows_a_run_as_its_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.create(tmp_path / "some-run", {})
    assert run._repr_svg_() is None
    run.record({"step": 1, "loss": 2.0})
    run.record({"step": 1, "validation_loss": 1.75})
    assert {"some-run", "validation  1.750", "training  2.000"} <= set(texts(run._repr_svg_() or ""))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run._repr_svg_() is None
    monkeypatch.undo()
    (run.folder / "metrics.jsonl").unlink()
    assert run._repr_svg_() is None


def test_nothing_global_of_matplotlib_is_touched() -> None:
    """No pyplot: it keeps figures, and looks for a display."""
    program = (
        "import sys; from hypernetworks.runs.curve import draw;"
        "draw({'a': [(1, 1.0), (2, 0.5)]}, 'y', 't'); sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 0
