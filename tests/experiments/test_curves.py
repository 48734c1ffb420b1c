"""Learning curves: their three axes from the metrics, means and bands over runs, and the points as CSV."""

import pytest

from hypernetworks.experiments.curves import Point, csv_of, draw_all, points

ROWS = [
    {"step": 2, "loss": 3.0, "seconds": 1.5},
    {"step": 2, "validation_loss": 2.5},
    {"step": 4, "loss": 2.0, "seconds": 0.25},
    {"step": 4, "validation_loss": 2.0},
]


def test_points_have_the_time_of_training_and_the_operations_until_then() -> None:
    assert points(ROWS, "validation_loss", 10.0) == [Point(2, 1.5, 20.0, 2.5), Point(4, 1.75, 40.0, 2.0)]
    assert points(ROWS, "validation_error", 10.0) == []


def test_pictures_against_every_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple] = []
    monkeypatch.setattr(
        "hypernetworks.experiments.curves.draw",
        lambda means, ylabel, title, **others: drawn.append((means, others)) or "svg",
    )
    runs = [[Point(2, 1.0, 20.0, 3.0), Point(4, 2.0, 40.0, 1.0)], [Point(2, 2.0, 20.0, 5.0)]]
    assert draw_all({"a": runs, "b": runs[:1]}, "loss", "title") == {"": "svg", "-flops": "svg", "-seconds": "svg"}
    for (means, others), x in zip(drawn, (2, 20.0, 1.5), strict=True):
        assert means["a"] == [(x, 4.0)]  # what both runs have reached
        assert others["bands"] == {"a": [(x, 3.0, 5.0)]}
        assert len(means["b"]) == 2
    uncounted = [point._replace(flops=0.0) for point in runs[0]]
    assert set(draw_all({"a": [uncounted]}, "loss", "title")) == {"", "-seconds"}


def test_a_picture_has_its_curves_and_bands() -> None:
    pytest.importorskip("matplotlib")
    runs = [[Point(2, 1.0, 0.0, 3.0), Point(4, 2.0, 0.0, 1.0)], [Point(2, 2.0, 0.0, 5.0), Point(4, 2.0, 0.0, 2.0)]]
    with_band, alone = (draw_all({"a": given}, "loss", "title")[""] for given in (runs, runs[:1]))
    assert ("FillBetween" in with_band, "FillBetween" in alone) == (True, False)
    assert "<!-- a  1.500 -->" in with_band


def test_all_points_are_in_the_csv() -> None:
    text = csv_of({"a": {7: points(ROWS, "validation_loss", 10.0)}}, "validation_loss")
    assert text.splitlines() == [
        "variant,seed,step,seconds,flops,validation_loss",
        "a,7,2,1.5,20.0,2.5",
        "a,7,4,1.75,40.0,2.0",
    ]
