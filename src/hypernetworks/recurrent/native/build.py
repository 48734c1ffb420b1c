"""Build the kernels on the user's own machine, at first use, for its own processor, and load them.

One library for each combination of sources, flags, compiler, torch and processor is kept in the user's cache. It is written
whole or not at all, and a second process that needs it meanwhile waits for the first. Whatever stands in the way is said in one
line, once, and the networks take their reference path.
"""

import contextlib
import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from hypernetworks.cache import cache_folder

SOURCES = Path(__file__).parent
KERNELS = tuple(sorted(path.name for path in SOURCES.glob("*.cpp")))
TYPES = ("float", "double")
FLAGS = ("-std=c++20", "-O3", "-fPIC", "-fno-math-errno", "-fvisibility=hidden")

log = logging.getLogger("hypernetworks")


class BuildError(RuntimeError):
    """Why there are no kernels, and how to mend it, in one line."""


@functools.cache
def library() -> ctypes.CDLL | None:
    """The kernels, built if need be; None, after one line in the log, where they cannot be had."""
    try:
        return _load(ensure())
    except BuildError as error:
        log.warning("no native kernels, the reference path serves: %s", " ".join(str(error).split()))
        return None


def _load(path: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        mend = f"remove {path}, or set XDG_CACHE_HOME to a folder that programs may be run from"
        raise BuildError(f"the library cannot be loaded ({error}): {mend}") from error


def ensure() -> Path:
    """The path of the library, built if it is not there yet; BuildError where it cannot be."""
    compiler = find_compiler()
    try:
        folder = cache_folder() / "native"
    except RuntimeError as error:
        raise BuildError("there is no home folder to build in: set XDG_CACHE_HOME to a folder to write to") from error
    path = folder / f"kernels-{_key(compiler)}.so"
    if path.exists():
        return path
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _lock(folder / "lock"):
            if not path.exists():
                _build(compiler, path)
    except OSError as error:
        raise BuildError(
            f"cannot write to {folder} ({error.strerror}): set XDG_CACHE_HOME to a folder to write to"
        ) from error
    return path


def find_compiler() -> list[str]:
    """The C++ compiler as a command: $CXX, or the first of c++, g++, clang++ that there is."""
    asked = _words("CXX")
    for command in [asked] if asked else [["c++"], ["g++"], ["clang++"]]:
        if found := shutil.which(command[0]):
            return [found, *command[1:]]
    missing = f"CXX={shlex.join(asked)} is not there" if asked else "there is no C++ compiler"
    raise BuildError(f"{missing}: install one (apt-get install g++, or xcode-select --install) or set CXX to yours")


def _words(variable: str) -> list[str]:
    try:
        return shlex.split(os.environ.get(variable, ""))
    except ValueError as error:
        raise BuildError(f"{variable}={os.environ[variable]} cannot be read ({error}): mend or unset it") from error


def flags() -> list[str]:
    """For this processor, and with what $HYPERNETWORKS_CXXFLAGS adds."""
    native = "-mcpu=native" if platform.machine().lower() in ("arm64", "aarch64") else "-march=native"
    return [*FLAGS, native, *_words("HYPERNETWORKS_CXXFLAGS")]


def _key(compiler: Sequence[str]) -> str:
    about = [
        shlex.join(compiler),
        _version(compiler),
        *flags(),
        str(torch.__version__),
        platform.platform(),
        _processor(),
    ]
    sources = [path.read_text(encoding="utf-8") for path in sorted(SOURCES.glob("*.h")) + sorted(SOURCES.glob("*.cpp"))]
    return hashlib.sha256("\0".join(about + sources).encode()).hexdigest()[:16]


def _version(compiler: Sequence[str]) -> str:
    process = _start([*compiler, "--version"])
    return process.communicate()[0]


def _processor() -> str:
    """The processor's features, as the system reports them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the lock file while building; where there are no locks two builds do the work twice, and no harm."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(compiler: Sequence[str], path: Path) -> None:
    """Compile each kernel for each type, all at once, link them, and put the library in its place."""
    log.warning("building the native kernels for this machine (once, about 40 seconds) into %s", path.parent)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        try:
            built = _compile([*compiler, *flags(), "-fopenmp"], Path(folder))
        except BuildError:
            # Apple's compiler has no OpenMP: there the kernels run on one thread
            built = _compile([*compiler, *flags()], Path(folder))
            log.warning("no OpenMP here: the native kernels run on one thread")
        built.replace(path)
    log.warning("native kernels built in %.0f seconds", time.perf_counter() - start)


def _compile(command: Sequence[str], folder: Path) -> Path:
    """The library of all kernels, one object file for each and each type; BuildError where the compiler does not make it."""
    running, objects = [], []
    for kernel in KERNELS:
        for kind in TYPES:
            objects.append(str(folder / f"{kernel}.{kind}.o"))
            made = ["-c", str(SOURCES / kernel), f"-DHN_TYPE={kind}", "-o", objects[-1]]
            running.append(_start([*command, *made]))
    _finish(running)
    library = folder / "kernels.so"
    _finish([_start([*command, "-shared", *objects, "-o", str(library)])])
    return library


def _start(command: Sequence[str]) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace"
        )
    except OSError as error:
        raise BuildError(f"{command[0]} cannot be run ({error.strerror}): set CXX to a C++ compiler") from error


def _finish(running: Sequence[subprocess.Popen[str]]) -> None:
    """Wait for all, then raise an error for the first that failed, with the first line that says why."""
    said = [process.communicate()[0].splitlines() for process in running]
    for process, lines in zip(running, said, strict=True):
        if process.returncode:
            why = next(
                (line for line in lines if "error" in line), "\n".join(lines[:1]) or f"exit code {process.returncode}"
            )
            raise BuildError(f"the C++ compiler failed ({why}): set CXX to one that knows C++20")
