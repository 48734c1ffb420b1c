"""The pictures of the examples are drawn from the records of their runs."""

import importlib.util
import xml.etree.ElementTree as ElementTree

import pytest

from .pages import DOCS, ROOT

spec = importlib.util.spec_from_file_location("example_pictures", DOCS / "example_pictures.py")
assert spec is not None
pictures = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pictures)

SVG = "{http://www.w3.org/2000/svg}"


def test_the_pictures_are_what_the_records_say():
    assert pictures.main(["--check"]) == 0


def test_a_record_that_changed_is_noticed(tmp_path, monkeypatch, capsys):
    for path in pictures.RECORDS.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    record = tmp_path / "federated.json"
    record.write_text(record.read_text(encoding="utf-8").replace("78.08545670160004", "50.0"), encoding="utf-8")
    monkeypatch.setattr(pictures, "RECORDS", tmp_path)
    assert pictures.main(["--check"]) == 1
    assert "federated.svg" in capsys.readouterr().err


@pytest.mark.parametrize("name", pictures.CHARTS)
def test_each_value_has_its_mark(name):
    chart = pictures.CHARTS[name]()
    drawn = ElementTree.fromstring(chart.svg())
    values = [value for series in chart.rows.values() for found in series for value in found]
    marks = [element for element in drawn.iter() if "mark" in element.get("class", "").split()]
    assert len(marks) == len(values) + len(chart.series)  # the legend has one of each
    assert all(chart.ends[0] <= value <= chart.ends[1] for value in values)


def test_the_values_are_those_of_all_seeds():
    rows = pictures.continual().rows
    assert rows["4 or 5"][1] == [36.71, 7.36, 14.67, 27.0, 34.69]
    assert [len(found) for series in rows.values() for found in series] == [5] * 10
    assert pictures.lora().rows["mirrored"] == [[89.1], [42.8]]
    assert len(pictures.text_to_lora().rows) == 15 + 2
    assert all(len(found) == 3 for series in pictures.text_to_lora().rows.values() for found in series)


def test_each_example_has_a_picture_in_the_gallery():
    gallery = (DOCS / "examples" / "index.md").read_text(encoding="utf-8")
    for page in (DOCS / "examples").glob("*.md"):
        if page.stem != "index":
            assert f"({page.stem}.md)" in gallery
            assert f"images/examples/{page.stem}.svg" in gallery or f"images/{page.stem}.png" in gallery
    assert (ROOT / "docs" / "images" / "implicit-image.png").is_file()
