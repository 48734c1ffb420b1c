"""Libraries compiled elsewhere: those of the package hypernetworks-kernels, for users without a compiler.

The package is a folder like the user's cache, with a library for each of some levels of the x86-64 instruction sets. Libraries
with a C interface, loaded by ctypes, depend neither on the version of Python nor on that of torch. Of torch they use the OpenMP
library, which is loaded already under its common name, libgomp.so.1: so both share its threads.
"""

import ctypes
import logging
from importlib.util import find_spec
from pathlib import Path

from .compiler import BuildError
from .stored import Cache, Made, Stored, best

PACKAGE = "hypernetworks_kernels"

log: logging.Logger = logging.getLogger("hypernetworks")


def prebuilt(wanted: Made) -> Stored | None:
    """The library of the package with the most instruction sets that this machine has.

    None if the package is not installed or the user has flags of their own, and, after one line in the log, if none of its
    libraries can be used.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None or wanted.flags:
        return None
    try:
        return _best(Path(spec.origin).parent, wanted)
    except (BuildError, OSError) as error:
        log.warning("hypernetworks-kernels is not used: %s", error)
        return None


def _best(folder: Path, wanted: Made) -> Stored:
    """The same; BuildError if there is none."""
    libraries = Cache(folder, "install it into an environment of your own").all()
    damaged = ", ".join(name for name, stored in libraries.items() if stored is None)
    found = best(libraries.values(), wanted)
    if found is None:
        if damaged or not libraries:
            raise BuildError(f"it is damaged ({damaged or 'it has no libraries'}): reinstall it")
        if all(stored.made.sources != wanted.sources for stored in libraries.values() if stored is not None):
            raise BuildError(
                "it was built from other sources than this hypernetworks: pip install -U 'hypernetworks[kernels]'"
            )
        raise BuildError("it has no library for this processor and C library")
    try:
        ctypes.CDLL(str(found.path))
    except OSError as error:
        raise BuildError(f"its library cannot be loaded ({error})") from error
    if damaged:
        log.warning("hypernetworks-kernels is damaged (%s), %s serves: reinstall it", damaged, found.path.name)
    return found
