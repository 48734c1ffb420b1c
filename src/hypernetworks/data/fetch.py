"""Downloads over HTTP or by pip, limited in size and time."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from importlib.machinery import PathFinder
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from threading import Thread
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from hypernetworks.errors import FaultError, UsageError
from hypernetworks.files import read_whole

__all__ = ["download", "download_wheel", "fetching"]

FETCH_SECONDS: float = 900.0
"""The time limit of one download."""

STALL_SECONDS: float = 30.0
"""A download fails after the server has sent nothing for this long."""


@contextmanager
def fetching(name: str, origin: str, by_hand: str) -> Iterator[None]:
    """Context for fetching and checking a file. It reports the fetch, and adds to an error where to put the file by hand."""
    print(f"fetching {name} from {origin}", file=sys.stderr)
    try:
        yield
    except (FaultError, UsageError) as error:
        raise FaultError(f"could not fetch {name} from {origin}: {error}; to get it by hand, {by_hand}") from error


def download(url: str, limit: int) -> bytes:
    """Download at most `limit` bytes within FETCH_SECONDS.

    The download runs in a thread that can be abandoned: while urllib waits for headers sent byte by byte, no timeout applies.

    Raises:
        FaultError: the server could not be reached, refused, sent too much, or was too slow.
    """
    done: SimpleQueue[bytes | FaultError] = SimpleQueue()

    def fetch() -> None:
        try:
            done.put(_receive(url, limit))
        except FaultError as error:
            done.put(error)

    Thread(target=fetch, daemon=True).start()
    try:
        answer = done.get(timeout=FETCH_SECONDS)
    except Empty as error:
        raise FaultError(f"not done after {FETCH_SECONDS:g} seconds") from error
    if isinstance(answer, FaultError):
        raise answer
    return answer


def _receive(url: str, limit: int) -> bytes:
    deadline = time.monotonic() + FETCH_SECONDS
    received = bytearray()
    try:
        request = Request(url, headers={"User-Agent": "hypernetworks"})
        with urlopen(request, timeout=min(STALL_SECONDS, FETCH_SECONDS)) as response:
            while part := response.read1(1 << 16):
                received += part
                if len(received) > limit:
                    raise FaultError(f"more than {limit} bytes came, the most expected")
                if time.monotonic() > deadline:
                    raise FaultError(f"not done after {FETCH_SECONDS:g} seconds")
    except HTTPError as error:
        error.close()
        raise FaultError(f"the server answered {error.code} {error.reason}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise FaultError(str(getattr(error, "reason", error)) or type(error).__name__) from error
    return bytes(received)


def download_wheel(requirement: str, name: str, limit: int) -> bytes:
    """Download a wheel with pip, which uses the user's settings, for example a mirror.

    Args:
        requirement: name==version.
        name: the file name of the wheel.
        limit: the largest size accepted, in bytes.

    Raises:
        FaultError: pip could not download it, or the file could not be read.
        UsageError: it is larger than `limit` bytes.
    """
    with TemporaryDirectory() as folder:
        command = [*_pip(Path(folder)), "download", "--quiet", "--no-input", "--no-deps"]
        # only a wheel: a source archive would run its own setup code
        done = _run_pip([*command, "--only-binary=:all:", "--dest", folder, requirement])
        wheel = Path(folder) / name
        if done.returncode != 0 or not wheel.is_file():
            raise FaultError(f"pip download failed ({_last_line(done.stderr)})")
        return read_whole(wheel, limit)


def _pip(folder: Path) -> list[str]:
    """The pip of this environment, or, if it has none (as those of uv), of a bare environment made in `folder`."""
    # looked up on the path: setuptools' import hook warns if distutils was imported before
    if PathFinder.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    bare = folder / "pip"
    done = _run_pip([sys.executable, "-m", "venv", str(bare)])
    if done.returncode != 0:
        raise FaultError(
            f"pip is not installed, and an environment with pip could not be made ({_last_line(done.stderr or done.stdout)})"
        )
    return [str(bare / ("Scripts" if os.name == "nt" else "bin") / "python"), "-m", "pip"]


def _run_pip(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise FaultError(f"pip was not done after {FETCH_SECONDS:g} seconds") from error


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
