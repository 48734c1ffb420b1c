"""Find the kernels, or compile them on the user's own machine at first use, for its processor, and load them.

A library compiled here is kept in the user's cache, and is preferred. Else the package hypernetworks-kernels serves, if it is
installed and fits, and else the compiler. While one process compiles, others that need the same library wait. If no library can
be had, one line of the log says why and what to do, and the networks take their reference path.
"""

import ctypes
import errno
import functools
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from hypernetworks.cache import cache_folder
from hypernetworks.errors import FaultError

from .compiler import SOURCES, BuildError, compile_library, find_compiler, flags, has_openmp, version
from .prebuilt import prebuilt
from .stored import Cache, Made, Stored, made_here

__all__ = ["SOURCES", "BuildError", "ensure", "library"]

PATIENCE = 900
"""Seconds that a process waits for another one's compilation."""

log: logging.Logger = logging.getLogger("hypernetworks")


@functools.cache
def library() -> ctypes.CDLL | None:
    """The kernels, compiled if necessary. None, after one line in the log, if they cannot be had."""
    try:
        return _load(ensure().path)
    except BuildError as error:
        log.warning("no native kernels, the reference path serves: %s", " ".join(str(error).split()))
        return None


def _load(path: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        advice = f"remove {path}, or set XDG_CACHE_HOME to a folder that programs may be run from"
        raise BuildError(f"the library cannot be loaded ({error}): {advice}") from error


def ensure() -> Stored:
    """The library for this machine: the one that was compiled here, else a prebuilt one, else it is compiled.

    Raises:
        BuildError: it is missing and cannot be compiled, and the cache has no other that runs here.
    """
    # Windows: neither is its compiler looked for, nor can one be ended with all that it started
    if not hasattr(os, "killpg"):
        raise BuildError("the kernels are compiled on Linux and macOS only")
    wanted = made_here()
    try:
        with _cache() as cache:
            if found := cache.find(wanted):
                return found
    except BuildError:
        # a prebuilt library needs no cache
        if found := prebuilt(wanted):
            return found
        raise
    if found := prebuilt(wanted):
        return found
    with _cache() as cache:
        try:
            return _compiled(cache, wanted)
        except (BuildError, OSError):
            if found := cache.compatible(wanted):
                return found
            raise


@contextmanager
def _cache() -> Iterator[Cache]:
    """The user's cache. What the system refuses meanwhile becomes a BuildError."""
    try:
        cache = Cache(cache_folder() / "native")
    except RuntimeError as error:
        raise BuildError("there is no home folder to build in: set XDG_CACHE_HOME to a folder to write to") from error
    try:
        yield cache
    except (OSError, FaultError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BuildError(f"cannot use {cache.folder} ({reason}): set XDG_CACHE_HOME to a folder to write to") from error


def _compiled(cache: Cache, wanted: Made) -> Stored:
    """Compile the library, unless another process does so meanwhile."""
    compiler = find_compiler()
    cache.prepare()
    with _lock(cache.folder) as locked:
        if found := cache.find(wanted):
            return found
        if locked:
            cache.clean()
        part = cache.part()
        try:
            made = replace(wanted, openmp=has_openmp(compiler, part))
            if not made.openmp:
                if found := cache.find(made):
                    return found
                log.warning("%s has no OpenMP: the native kernels run on one thread", compiler[0])
            log.warning("compiling the native kernels for this machine (once, about a minute) into %s", cache.folder)
            start = time.perf_counter()
            command = [*compiler, *flags(), *["-fopenmp"] * made.openmp]
            stored = cache.store(compile_library(command, part), made, version(compiler))
            log.warning("native kernels compiled in %.0f seconds", time.perf_counter() - start)
            return stored
        finally:
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    """Hold the folder's lock. In a file system without locks yield False: then two processes may both compile, without harm."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / "lock", timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        log.warning("waiting for another process, which compiles the native kernels in %s", folder)
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout as error:
            raise BuildError(
                f"another process has been compiling in {folder} for {PATIENCE} seconds: end it and start again"
            ) from error
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK):
            raise
    try:
        yield lock.is_locked
    finally:
        lock.release()
