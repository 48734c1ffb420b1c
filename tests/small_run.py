"""A small finished run, for tests that damage its files, and the sum that makes changed bytes a trainer's state."""

import hashlib
from pathlib import Path

import pytest

from hypernetworks import cli

TEXT = "".join(f"{n} is {n * n}, and its half {n / 2}: so it stands.\n" for n in range(60))
SETTINGS = (
    *("--network=lstm", "--hidden-size=4", "--embedding-size=3", "--batch-size=2", "--length=8"),
    *("--steps=2", "--warmup=0", "--evaluate-every=1", "--device=cpu"),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run on toy.txt beside it."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "toy.txt").write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYPERNETWORKS_BACKEND", "reference")
        given = ["--corpus", str(folder / "toy.txt"), "--out", str(folder / "run")]
        assert cli.main(["text", "train", *SETTINGS, *given]) == 0
    return folder / "run"


def sealed(data: bytes) -> bytes:
    """The bytes with the line and the sum that a trainer's state ends with."""
    data += b"hypernetworks trainer 1 sha256 "
    return data + hashlib.sha256(data).hexdigest().encode()
