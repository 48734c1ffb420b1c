"""Images come out of their files as they went in, are split and preprocessed as configured, and errors are one line."""

import gzip
import hashlib
import io
import os
import shutil
import struct
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from hypernetworks.data.named_sets import get, list_data
from hypernetworks.errors import UsageError
from hypernetworks.vision.data import NAMED_SETS, load_images
from hypernetworks.vision.views import Views

from .conftest import toy_images


def test_images_and_labels_come_back_in_their_splits(toy_folder: Path) -> None:
    """A 12th of the digits and a 10th of the photographs are held out; the second batch follows the first."""
    digits, photographs = (load_images(name, toy_folder) for name in ("mnist", "cifar10"))
    assert digits.sizes == {"train": 110, "validation": 10, "test": 40}
    assert photographs.sizes == {"train": 54, "validation": 6, "test": 30}
    images, labels = toy_images(120, 1, 28)
    assert torch.equal(torch.cat([digits.train.images, digits.validation.images]), images)
    assert torch.equal(torch.cat([digits.train.labels, digits.validation.labels]), labels)
    assert torch.equal(digits.test.images, toy_images(40, 1, 28)[0])
    both = [toy_images(N, 3, 32) for N in (40, 20)]
    found = photographs.train, photographs.validation
    assert torch.equal(torch.cat([split.images for split in found]), torch.cat([images for images, _ in both]))
    assert torch.equal(torch.cat([split.labels for split in found]), torch.cat([labels for _, labels in both]))
    assert photographs.test.labels.dtype == torch.int64


OWN_DATA = Path(os.environ.get("HYPERNETWORKS_DATA") or "nowhere")


@pytest.mark.skipif(not (OWN_DATA / "mnist").is_dir(), reason="needs mnist in $HYPERNETWORKS_DATA")
def test_the_whole_set_is_split_as_in_the_paper() -> None:
    data = load_images("mnist", OWN_DATA)
    assert data.sizes == {"train": 55_000, "validation": 5000, "test": 10_000}
    assert data.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    pixels = data.train.images.float() / 255
    assert pixels.mean().item() == pytest.approx(0.1307, abs=3e-4)
    assert pixels.std().item() == pytest.approx(0.3081, abs=3e-4)


def test_other_images_have_another_sum(toy_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(toy_folder, tmp_path / "copy")
    before = load_images("cifar10", tmp_path / "copy").sha256
    assert before == load_images("cifar10", toy_folder).sha256
    path = tmp_path / "copy" / "cifar-10-batches-bin" / "test_batch.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    assert load_images("cifar10", tmp_path / "copy").sha256 != before


TRAIN, LABELS = "mnist/train-images-idx3-ubyte.gz", "mnist/train-labels-idx1-ubyte"
BATCH = "cifar-10-batches-bin/data_batch_1.bin"


def in_gzip(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda data: gzip.compress(change(gzip.decompress(data)))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (TRAIN, lambda data: data[:-20], r"is damaged \(Compressed file ended"),
        (TRAIN, lambda data: b"no gzip" + data, r"is damaged \(Not a gzipped file"),
        (TRAIN, lambda data: data[:40] + bytes([data[40] ^ 255]) + data[41:], "is damaged"),
        (TRAIN, lambda data: data + b"more", r"is damaged \(Not a gzipped file"),
        (TRAIN, in_gzip(lambda data: data[:-1]), "holds 94,095 bytes, expected 94,096 for its 120 images"),
        (TRAIN, in_gzip(lambda data: data + b"\0"), "holds 94,097 bytes, expected 94,096"),
        (TRAIN, in_gzip(lambda data: struct.pack(">I", 2049) + data[4:]), "magic number 2049, expected 2051"),
        (TRAIN, in_gzip(lambda data: data[:8] + struct.pack(">II", 32, 28) + data[16:]), "32×28, expected 28×28"),
        (TRAIN, in_gzip(lambda data: data[:7]), "holds 7 bytes, expected an idx file of images, whose header has 16"),
        (TRAIN, in_gzip(lambda data: data[:4] + b"\xff" * 4 + data[8:]), "for its 4,294,967,295 images"),
        (TRAIN, in_gzip(lambda data: data[:4] + bytes(4) + data[8:16]), "holds no images"),
        (LABELS, lambda data: data[:-1] + b"\x0a", "holds the label 10, expected 0 to 9"),
        (LABELS, lambda data: struct.pack(">II", 2049, 119) + data[8:-1], "holds 119 labels, expected 120"),
        (BATCH, lambda data: data[:-1], "holds 122,919 bytes, expected records of 3073 bytes"),
        (BATCH, lambda data: b"", "holds 0 bytes, expected records"),
        (BATCH, lambda data: b"\x0a" + data[1:], "holds the label 10, expected 0 to 9"),
    ],
)
def test_a_wrong_file_is_named_in_one_line(
    name: str, change: Callable[[bytes], bytes], message: str, toy_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(toy_folder, tmp_path / "copy")
    path = tmp_path / "copy" / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UsageError, match=rf"^[^\n]*{path.name}[^\n]*{message}[^\n]*$"):
        load_images("mnist" if "mnist" in name else "cifar10", tmp_path / "copy")


def test_photographs_come_from_their_archive(tmp_path: Path, toy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file under the name that it has in the archive: what the five batches and the test batch hold is read."""
    stream, archive = io.BytesIO(), NAMED_SETS["cifar10"].archive
    assert archive is not None
    batch = (toy_folder / "cifar-10-batches-bin" / "test_batch.bin").read_bytes()
    with tarfile.open(fileobj=stream, mode="w:gz") as made:
        for name in (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin", "readme.html"):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(batch)
            made.addfile(member, io.BytesIO(batch))
    content = stream.getvalue()
    known = replace(archive, size=len(content), sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(NAMED_SETS, "cifar10", replace(NAMED_SETS["cifar10"], archive=known))
    monkeypatch.setattr("hypernetworks.data.archive.download", lambda url, limit: content)
    assert load_images("cifar10", tmp_path).sizes == {"train": 135, "validation": 15, "test": 30}


def test_what_is_missing_is_told(tmp_path: Path, toy_folder: Path) -> None:
    with pytest.raises(UsageError, match=r"no set of images 'mnits': did you mean mnist\? expected mnist, cifar10"):
        load_images("mnits")
    rows = {row.name: row for row in list_data(NAMED_SETS, tmp_path)}
    assert all(rows[name].where.startswith("fetched on first use: https://") for name in ("mnist", "cifar10"))
    assert [path.name for path in get("cifar10", NAMED_SETS, toy_folder)] == [
        "data_batch_1.bin",
        "data_batch_3.bin",
        "test_batch.bin",
    ]


def by_hand(views: Views, image: torch.Tensor, u: int, v: int) -> torch.Tensor:
    """One image (C, H, H), grown and cut at (u, v)."""
    side = image.shape[-1]
    x = torch.stack([(image[c] / 255 - m) / s for c, (m, s) in enumerate(zip(views.mean, views.std, strict=True))])
    if views.enlarge_to:
        x = F.interpolate(x.unsqueeze(0), size=[views.enlarge_to] * 2, mode="bilinear").squeeze(0)
    if views.pad:
        x = F.pad(x, [views.pad] * 4)
    return x[:, u : u + side, v : v + side]


@pytest.mark.parametrize(("name", "room"), [("mnist", 3), ("cifar10", 5)])
def test_each_view_is_one_of_those_that_there_are_and_all_of_them_come(name: str, room: int, toy_folder: Path) -> None:
    data = load_images(name, toy_folder)
    image = data.train.images[3]
    draws = data.views.draw(1000, image.shape[-1], torch.Generator().manual_seed(0))
    views = data.views.drawn(image.expand(1000, -1, -1, -1), draws)
    cuts = [by_hand(data.views, image, u, v) for u in range(room) for v in range(room)]
    cuts += [cut.flip(-1) for cut in cuts] if data.views.mirror else []
    distances = torch.cdist(views.flatten(1), torch.stack(cuts).flatten(1), compute_mode="donot_use_mm_for_euclid_dist")
    assert distances.min(dim=1).values.max() < 1e-4
    counts = distances.argmin(dim=1).bincount(minlength=len(cuts))
    assert counts.min() > 0
    assert counts.max() < 3 * 1000 / len(cuts)
    middle = by_hand(data.views, image, (room - 1) // 2, (room - 1) // 2)
    torch.testing.assert_close(data.views.still(image.unsqueeze(0))[0], middle)
