"""The files of a study: those of another one, damaged ones and older ones. Each is one line, and nothing is lost."""

import json
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

optuna = pytest.importorskip("optuna")

from hypernetworks import cli  # noqa: E402
from hypernetworks.errors import UsageError  # noqa: E402
from hypernetworks.experiments.results import read_results  # noqa: E402
from hypernetworks.experiments.search import Pruning, Search  # noqa: E402

from . import toy  # noqa: E402
from .studies import SPACE, study, timeless  # noqa: E402

pytestmark = pytest.mark.usefixtures("no_picture")


def test_other_folders_and_files_are_refused_and_left_as_they_are(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    shutil.copytree(whole, folder)
    with pytest.raises(UsageError, match=r"already holds a study: give --resume"):
        study(folder)
    with pytest.raises(UsageError, match=r"holds another study: plan\.trials is 5 there, got 6: give the same flags"):
        study(folder, resume=True, trials=6)
    database = (folder / "search.db").read_bytes()
    (folder / "search.db").write_bytes(database[:100] + bytes(2000) + database[2100:])
    with pytest.raises(UsageError, match=r"search\.db: damaged \(.*\): remove it and give --resume"):
        study(folder, resume=True)
    (folder / "search.db").write_bytes(b"no database")
    with pytest.raises(UsageError, match=r"search\.db: damaged \(file is not a database\)"):
        study(folder, resume=True)
    (folder / "search.db").unlink()
    other = Search(folder / "search.db", "without", SPACE, Pruning(), 0, "another plan")
    other.close()
    with pytest.raises(UsageError, match=r"search\.db: is the storage of another study"):
        study(folder, resume=True)
    (folder / "results" / "without-seed1.json").write_text("{}")
    with pytest.raises(UsageError, match=r"without-seed1\.json: not the result of that name: put back"):
        study(folder, resume=True)
    (folder / "study.json").unlink()
    with pytest.raises(UsageError, match=r"study\.json: missing, although the folder holds a study"):
        study(folder, resume=True)
    assert timeless(whole).keys() - {"without-seed1"} <= {path.stem for path in (folder / "results").iterdir()}


def test_a_storage_that_is_not_optunas_is_refused(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "study")
    (tmp_path / "study" / "search.db").unlink()
    with sqlite3.connect(tmp_path / "study" / "search.db") as connection:
        connection.execute("create table studies (something integer)")
    connection.close()
    with pytest.raises(Exception, match=r"search\.db: ") as caught:
        study(tmp_path / "study", resume=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:100], r"without-seed1\.json: not valid JSON .*: put back the file, or remove it"),
        (lambda text: "", r"without-seed1\.json: not valid JSON"),
        (
            lambda text: text.replace("without-seed1", "without-seed7"),
            r"without-seed1\.json: not the result of that name",
        ),
        (lambda text: text.replace('"curve": [', '"curve": [3, '), r"without-seed1\.json: not the result of that name"),
        (lambda text: text.replace('"state": "complete"', '"state": "done"'), r"not the result of that name"),
        (lambda text: text.replace('"study": "', '"study": "0'), r"without-seed1\.json is a result of another study"),
        (lambda text: text.replace('"seed": 1', '"seed": 9'), r"without-seed1\.json is a result of another study"),
        (
            lambda text: text.replace('"variant": "without"', '"variant": "gru"'),
            r"is a result of another study: remove it",
        ),
    ],
    ids=["truncated", "empty", "renamed", "curve", "state", "study", "seed", "variant"],
)
def test_a_damaged_or_foreign_result_is_one_line_and_nothing_is_lost(
    change: Callable[[str], str], message: str, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    shutil.copytree(whole, folder)
    path = folder / "results" / "without-seed1.json"
    text = path.read_text()
    path.write_text(change(text))
    assert path.read_text() != text
    before = {other: other.read_bytes() for other in folder.rglob("*") if other.is_file()}
    with pytest.raises(UsageError, match=message) as caught:
        study(folder, resume=True)
    assert "\n" not in str(caught.value)
    assert {other: other.read_bytes() for other in folder.rglob("*") if other.is_file()} == before
    path.unlink()
    study(folder, resume=True).work()
    assert timeless(folder) == timeless(whole)


def test_results_of_an_earlier_version_are_read(whole: Path, tmp_path: Path) -> None:
    """They lack the sample and the checksum of the study."""
    folder = tmp_path / "study"
    shutil.copytree(whole, folder)
    for path in (folder / "results").glob("*.json"):
        values = json.loads(path.read_text())
        path.write_text(json.dumps({key: value for key, value in values.items() if key not in ("sample", "study")}))
    before = (folder / "study.log").read_bytes()
    study(folder, resume=True).work()
    assert (folder / "study.log").read_bytes() == before
    assert timeless(folder) == timeless(whole)


def test_a_finished_trial_is_not_resumed(
    whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "toy_experiment", toy)
    monkeypatch.setitem(cli.COMMANDS, "line train", ("toy_experiment", "Train"))
    pruned = next(name for name, result in read_results(whole / "results").items() if result.state == "pruned")
    assert cli.main(["line", "train", "--resume", "--out", str(whole / "trials" / pruned)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{pruned}: a trial of a study that has finished or was pruned, which is not resumed" in error
    assert str(whole / "results" / f"{pruned}.json") in error
