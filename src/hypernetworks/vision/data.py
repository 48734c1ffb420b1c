"""The named sets of images: files, splits and augmentation.

name      train / validation / test     augmentation
mnist     55,000 / 5,000 / 10,000        enlarged to 30×30, random crop of 28×28
cifar10   45,000 / 5,000 / 10,000        padded to 36×36, random crop of 32×32, mirrored with probability ½

The validation split is the end of the training files: 1/12 for MNIST, 1/10 for CIFAR-10, also if a user's copy is only a
part of the set. Downloads are verified by sha256: the decompressed files of MNIST, and the compressed archive of CIFAR-10.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from hypernetworks.data.archive import Archive
from hypernetworks.data.data_file import DataFile, Obtained
from hypernetworks.data.named_sets import NamedSet, nearest, obtain_all
from hypernetworks.errors import UsageError
from hypernetworks.vision.formats import read_cifar, read_idx_images, read_idx_labels
from hypernetworks.vision.views import Views

__all__ = ["NAMED_SETS", "ImageData", "ImageSet", "Images", "load_images"]


@dataclass(frozen=True, eq=False)
class Images:
    """Images (N, C, H, W), uint8, and their labels (N,), int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, start: int, end: int) -> "Images":
        """The images `start` to `end` - 1."""
        return Images(self.images[start:end], self.labels[start:end])

    def to(self, device: torch.device) -> "Images":
        """Move to a device."""
        return Images(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class ImageSet(NamedSet):
    """A named set of images: how its files are read and split, and how images are preprocessed."""

    read: Callable[[list[Obtained]], tuple[Images, Images]]
    """Reads the files, in the order of `files`, and returns training and test images."""
    validation: int
    """1/N of the training images is held out for validation."""
    views: Views


@dataclass(frozen=True, eq=False)
class ImageData:
    """A set of images, split.

    Example:
        >>> from hypernetworks.vision import ImageData
        >>> from hypernetworks.vision.data import NAMED_SETS, Images
        >>> all = Images(torch.zeros(6, 1, 28, 28, dtype=torch.uint8), torch.arange(6))
        >>> views = NAMED_SETS["mnist"].views
        >>> data = ImageData("mnist", all.part(0, 3), all.part(3, 4), all.part(4, 6), views, source="", sha256="")
        >>> data.sizes
        {'train': 3, 'validation': 1, 'test': 2}
    """

    name: str
    train: Images
    validation: Images
    test: Images
    views: Views
    source: str
    """The files that it was read from."""
    sha256: str
    """The checksum of all images and labels, in the order of the splits."""

    @property
    def sizes(self) -> dict[str, int]:
        """The number of images in each split."""
        return {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)}


def load_images(name: str, data_dir: Path | None = None) -> ImageData:
    """Load a named set of images; its files are found or fetched.

    Raises:
        UsageError: no set has this name, or a file is wrong.
        FaultError: a file could not be read, fetched or written.
    """
    if name not in NAMED_SETS:
        raise UsageError(f"no set of images {name!r}: {nearest(name, NAMED_SETS)}")
    named = NAMED_SETS[name]
    files = obtain_all(named, data_dir)
    train, test = named.read(files)
    kept = len(train) - len(train) // named.validation
    if kept == len(train):
        raise UsageError(
            f"{files[0].path}: holds {len(train)} images, expected at least {named.validation} to hold out one"
        )
    digest = hashlib.sha256()
    for split in (train, test):
        digest.update(split.images.numpy().data)
        digest.update(split.labels.numpy().data)
    source = ", ".join(str(file.path) for file in files)
    held_out = train.part(kept, len(train))
    return ImageData(name, train.part(0, kept), held_out, test, named.views, source, digest.hexdigest())


def _read_mnist(files: list[Obtained]) -> tuple[Images, Images]:
    def pair(images: Obtained, labels: Obtained) -> Images:
        made = Images(read_idx_images(images.content, images.path), read_idx_labels(labels.content, labels.path))
        if len(made.images) != len(made.labels):
            raise UsageError(
                f"{labels.path}: holds {len(made.labels):,} labels, expected {len(made.images):,} as in {images.path}"
            )
        return made

    return pair(*files[:2]), pair(*files[2:])


def _read_cifar10(files: list[Obtained]) -> tuple[Images, Images]:
    batches = [Images(*read_cifar(file.content, file.path)) for file in files]
    train = Images(*(torch.cat(parts) for parts in zip(*((b.images, b.labels) for b in batches[:-1]), strict=True)))
    return train, batches[-1]


def _mnist_file(name: str, size: int, sha256: str) -> DataFile:
    names = (f"mnist/{name}", f"mnist/{name}.gz")
    url = f"https://ossci-datasets.s3.amazonaws.com/mnist/{name}.gz"
    return DataFile(names, limit=size, size=size, sha256=sha256, url=url, parts=True)


def _cifar_file(name: str, optional: bool = False) -> DataFile:
    return DataFile((f"cifar-10-batches-bin/{name}.bin",), limit=30_730_000, optional=optional)


NAMED_SETS: Final[dict[str, ImageSet]] = {
    "mnist": ImageSet(
        "70,000 handwritten digits, 28×28",
        (
            _mnist_file(
                "train-images-idx3-ubyte",
                47_040_016,
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            _mnist_file(
                "train-labels-idx1-ubyte", 60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
            ),
            _mnist_file(
                "t10k-images-idx3-ubyte", 7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
            ),
            _mnist_file(
                "t10k-labels-idx1-ubyte", 10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
            ),
        ),
        _read_mnist,
        validation=12,
        views=Views(mean=(0.1307,), std=(0.3081,), enlarge_to=30),
    ),
    "cifar10": ImageSet(
        "60,000 photographs in 10 classes, 32×32",
        (
            _cifar_file("data_batch_1"),
            *(_cifar_file(f"data_batch_{number}", optional=True) for number in range(2, 6)),
            _cifar_file("test_batch"),
        ),
        _read_cifar10,
        validation=10,
        views=Views(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616), pad=2, mirror=True),
        archive=Archive(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            size=170_052_171,
            sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
    ),
}
"""The sets by name. To add a set, list its files and the function that reads them here."""
