"""Drawings from a wheel, from JSON and from sketch-rnn's files; what is wrong with one is one line."""

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hypernetworks.errors import UsageError
from hypernetworks.strokes import kanji
from hypernetworks.strokes.batches import augmented, packed
from hypernetworks.strokes.data import StrokeData, _from_cache, _prepared, load_strokes
from hypernetworks.strokes.drawings import Drawings, offsets_of, strokes_of
from hypernetworks.strokes.mixture import DOWN, END, UP

SVG = """<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" width="109" height="109"><g><g>
<path d="M10,20c10,0,20,0,30,0"/></g><path d="M54.5,54.5L60,54.5L60,70"/></g></svg>"""


def wheel(files: dict[str, str]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def characters(count: int) -> dict[str, str]:
    made = {f"kanji/{0x4E00 + number:05x}.svg": SVG for number in range(count)}
    return made | {f"kanji/{0x4E00 + number:05x}-Kaisho.svg": SVG for number in range(0, count, 2)}


def test_a_character_is_its_paths_in_order() -> None:
    drawings = kanji.read_kanji(wheel({"kanji/04e00.svg": SVG, "kanjivg.dist-info/RECORD": ""}))
    assert drawings.names == ("一",)
    offsets, lifted = drawings.drawing(0)
    # the pen starts in the middle; a straight curve has two points
    assert offsets.tolist() == [[-44.5, -34.5], [30, 0], [14.5, 34.5], [5.5, 0], [0, 15.5]]
    assert lifted.tolist() == [False, True, False, False, True]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no zip", "is not a wheel"),
        (wheel({"other.txt": ""}), "holds no characters: expected kanji/CODE.svg"),
        (wheel({"kanji/04e00.svg": "<svg"}), "kanji/04e00.svg: is not an SVG file"),
        (wheel({"kanji/04e00.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>"}), "04e00.svg: holds no path"),
        (wheel({"kanji/04e00.svg": SVG.replace("M10", "M#ten")}), "04e00.svg: a path should consist of"),
        (wheel(characters(3))[:-30], "is not a wheel"),
    ],
)
def test_a_damaged_wheel_is_one_line(content: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        kanji.read_kanji(content)
    assert "\n" not in str(error.value)


def test_prepared_characters_are_kept_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = wheel(characters(4))
    first = _prepared(content)
    assert "preparing" in capsys.readouterr().err
    again = _prepared(content)
    assert capsys.readouterr().err == ""
    assert (again.digest(), again.names) == (first.digest(), first.names)
    (path,) = (tmp_path / "cache" / "hypernetworks").iterdir()
    damaged = bytearray(path.read_bytes())
    damaged[-40] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(UsageError, match="is damaged"):
        _from_cache(path)
    assert _prepared(content).digest() == first.digest()
    assert "preparing" in capsys.readouterr().err


def test_variants_of_a_character_are_in_one_split(monkeypatch: pytest.MonkeyPatch) -> None:
    from hypernetworks.strokes import data

    splits = data._split(kanji.read_kanji(wheel(characters(60))), "wheel")
    names = [set(part.names) for part in splits]
    assert [len(part) for part in names] == [54, 3, 3]
    assert sum(map(len, splits)) == 90
    assert len(names[0] | names[1] | names[2]) == 60
    assert [part.digest() for part in data._split(kanji.read_kanji(wheel(characters(60))), "wheel")] == [
        part.digest() for part in splits
    ]


def test_own_strokes(toy: StrokeData) -> None:
    assert toy.sizes == {"train": 54, "validation": 3, "test": 3}
    offsets, lifted = toy.train.drawing(0)
    assert lifted[-1]
    points = np.concatenate(strokes_of(offsets, lifted))
    np.testing.assert_allclose(points.min(0), -points.max(0), atol=1e-5)  # centred
    assert toy.scale == pytest.approx(np.std(np.concatenate([toy.train.offsets.numpy()]), ddof=1), rel=1e-5)
    assert toy.size == pytest.approx(2 * max(part.extent() for part in (toy.train, toy.validation, toy.test)))


def test_strokes_and_offsets_are_inverse() -> None:
    strokes = [np.array([[1.0, 2], [3, 4]]), np.array([[0.5, 0]]), np.array([[7, 7], [8, 8], [9, 7]])]
    offsets, lifted = offsets_of(strokes, (0, 0))
    for stroke, again in zip(strokes, strokes_of(offsets, lifted), strict=True):
        np.testing.assert_allclose(again, stroke, atol=1e-6)
    assert len(strokes_of(offsets[:-1], lifted[:-1])[-1]) == 2  # an unfinished stroke


LINE = [[[0, 0], [5, 5]]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "should be a list of drawings"),
        ('{"a": 1}', "should be a list of drawings"),
        (json.dumps([LINE, []]), r"drawing 1: should be a list of strokes, got \[\]"),
        (
            json.dumps([LINE, [[]]]),
            r"drawing 1: a stroke should be a list of points \[x, y\] of finite numbers, got \[\]",
        ),
        (json.dumps([LINE, [[[1, 2]]]]), "drawing 1: has 1 points, a drawing needs at least 2"),
        (json.dumps([LINE, [[[1, float("nan")], [2, 2]]]]), "drawing 1: a stroke should be .* finite numbers"),
        (json.dumps([LINE, [[[1, 10**400], [2, 2]]]]), "drawing 1: a stroke should be .* finite numbers"),
        (json.dumps([LINE, [[[1, True], [2, 2]]]]), "drawing 1: a stroke should be"),
        (json.dumps([LINE, [[[1, 2, 3], [2, 2]]]]), "drawing 1: a stroke should be"),
        (json.dumps([LINE, LINE]), "holds 2 drawings, expected at least 3"),
        (json.dumps([[[[0, 0], [0, 0]]]] * 3), "drawing 0: has 1 points|offsets of all training drawings are equal"),
    ],
)
def test_own_strokes_that_are_wrong_are_one_line(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=message) as error:
        load_strokes(str(path))
    assert "own.json" in str(error.value)
    assert "\n" not in str(error.value)


def objects(*arrays: Any) -> np.ndarray:
    made = np.empty(len(arrays), dtype=object)
    made[:] = list(arrays)
    return made


def sketch_rnn(path: Path, protocol: int = 4, **splits: Any) -> Path:
    """An .npz file as NumPy writes it; older versions, and Python 2, used older forms of pickles."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in splits.items():
            with archive.open(f"{name}.npy", "w") as stream:
                np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
                stream.write(pickle.dumps(array, protocol=protocol) if array.dtype == object else array.tobytes())
    return path


def rows(count: int, dtype: str = "int16") -> np.ndarray:
    made = torch.Generator().manual_seed(count)
    array = torch.randint(-100, 100, (count, 3), generator=made).numpy().astype(dtype)
    array[:, 2] = 0
    array[[1, -1], 2] = 1
    return array


@pytest.mark.parametrize("protocol", [0, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["int16", ">i2", "float32", "float64"])
def test_sketch_rnn_files(tmp_path: Path, protocol: int, dtype: str) -> None:
    arrays = [rows(count, dtype) for count in (5, 9, 7, 4)]
    path = sketch_rnn(
        tmp_path / "sheep.npz", protocol, train=objects(*arrays[:2]), valid=objects(arrays[2]), test=objects(arrays[3])
    )
    data = load_strokes(str(path))
    assert data.sizes == {"train": 2, "validation": 1, "test": 1}
    offsets, lifted = data.train.drawing(1)
    np.testing.assert_array_equal(offsets.numpy(), arrays[1][:, :2].astype("float32"))
    assert lifted.tolist() == (arrays[1][:, 2] == 1).tolist()


def test_numpy_itself_writes_what_is_read(tmp_path: Path) -> None:
    splits = {
        name: objects(rows(count), np.asfortranarray(rows(6)))
        for name, count in (("train", 5), ("valid", 7), ("test", 4))
    }
    np.savez_compressed(tmp_path / "own.npz", **splits)
    data = load_strokes(str(tmp_path / "own.npz"))
    np.testing.assert_array_equal(data.train.drawing(1)[0].numpy(), rows(6)[:, :2])


class Harm:
    """Runs a function when it is unpickled."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("harm-done"),))


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (objects(Harm()), "cannot be read safely .it names pathlib.* convert the drawings to .json"),
        (objects(3, 4), "is not an array of arrays"),
        (objects(np.zeros((4, 2), "int16")), r"drawing 0: should be an array of numbers \(points, 3\)"),
        (objects(np.array(["a", "b", "c"]).reshape(1, 3)), r"should be an array of numbers \(points, 3\)"),
        (objects(np.array([[1, 2, 1]], "int16")), "drawing 0: has 1 points"),
        (objects(np.array([[1, 2, 0], [np.nan, 1, 1]])), "drawing 0: has an offset that is not finite"),
        (objects(np.array([[1, 2, 0], [3, 1, 0]])), "drawing 0: the pen should be lifted at the last point"),
        (np.zeros((4, 3)), "is an array of float64, expected one of objects"),
        (objects(), "holds no drawing"),
    ],
)
def test_sketch_rnn_files_that_are_wrong_are_one_line(
    train: np.ndarray, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good = objects(rows(5))
    path = sketch_rnn(tmp_path / "bad.npz", train=train, valid=good, test=good)
    with pytest.raises(UsageError, match=message) as error:
        load_strokes(str(path))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "harm-done").exists()


def test_files_that_are_cut_or_no_archives_are_one_line(tmp_path: Path) -> None:
    good = objects(rows(5), rows(6))
    path = sketch_rnn(tmp_path / "cut.npz", train=good, valid=good, test=good)
    whole = path.read_bytes()
    for end in range(0, len(whole), 37):
        path.write_bytes(whole[:end])
        with pytest.raises(UsageError, match=r"is not an \.npz file"):
            load_strokes(str(path))
    with zipfile.ZipFile(path, "w") as archive:
        for split in ("train", "valid", "test"):
            archive.writestr(f"{split}.npy", b"\x93NUMPY\x01\x00\x04")
    with pytest.raises(UsageError, match="train: is damaged"):
        load_strokes(str(path))
    sketch_rnn(path, train=good, test=good)
    with pytest.raises(UsageError, match="holds no array valid, expected train, valid, test"):
        load_strokes(str(path))
    with pytest.raises(UsageError, match="no set of drawings 'kanjis': did you mean kanji"):
        load_strokes("kanjis")


def test_packed_drawings_read_the_start_and_predict_the_end() -> None:
    drawing = (torch.tensor([[2.0, 4], [6, 8], [1, 1]]), torch.tensor([False, True, True]))
    short = (torch.tensor([[10.0, 0], [0, 10]]), torch.tensor([False, True]))
    batch = packed([short, drawing], 2.0)
    reads, lengths = torch.nn.utils.rnn.pad_packed_sequence(batch.reads)
    assert lengths.tolist() == [3, 4]
    assert reads[:, 1].tolist() == [[0, 0, 1, 0, 0], [1, 2, 1, 0, 0], [3, 4, 0, 1, 0], [0.5, 0.5, 0, 1, 0]]
    # in packed order: step by step, the longer drawing first
    assert batch.pen.tolist() == [DOWN, DOWN, UP, UP, UP, END, END]
    assert batch.offsets.tolist() == [[1, 2], [5, 0], [3, 4], [0, 5], [0.5, 0.5], [0, 0], [0, 0]]


def test_augmented_drawings_keep_strokes_and_ends() -> None:
    strokes = [np.array([[0.0, 0], [1, 5], [2, 0], [3, 5], [4, 0]]), np.array([[9.0, 9]]), np.array([[5.0, 5], [6, 6]])]
    drawings = Drawings.of([offsets_of(strokes, (1, 1))] * 200, ["a"] * 200)
    changed = augmented(drawings, 0.2, 0.5, torch.Generator().manual_seed(0))
    counts, factors = [], []
    for offsets, lifted in changed:
        made = strokes_of(offsets, lifted)
        assert len(made) == 3
        factor = (made[2][1] + 1e-9) / 5.0  # the last point is (6, 6), and the pen starts at (1, 1)
        factors.append(factor)
        for before, after in zip(strokes, made, strict=True):
            np.testing.assert_allclose(after[[0, -1]], (before[[0, -1]] - 1) * factor, atol=1e-4)
            for point in after:  # every point that stays is where it was
                assert np.abs((before - 1) * factor - point).sum(1).min() < 1e-4
        counts.append(len(lifted))
    assert 0.4 < (np.mean(counts) - 5) / 3 < 0.6  # 3 points of 8 may go, with probability ½
    assert (np.abs(np.array(factors) - 1) <= 0.2).all()
    assert np.std(factors) == pytest.approx(0.2 / np.sqrt(3), rel=0.15)
    same = augmented(drawings, 0.0, 0.0, torch.Generator())
    torch.testing.assert_close(same[7][0], drawings.drawing(7)[0])
