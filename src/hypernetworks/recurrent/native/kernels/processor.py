"""What a library compiled for one machine needs of another: the instructions of the processor and the version of libc."""

import os
import platform
import re
from collections.abc import Set
from contextlib import suppress
from pathlib import Path

_COMPILED_FOR = re.compile(
    r"(sse|ssse|avx|fma|f16c|bmi|abm|popcnt|movbe|adx|aes|vaes|pclmul|vpclmul|gfni|sha|amx|cx16|xsave)"
)
"""The names of x86 instruction sets that compilers use. Other words on the line differ between kernels of the system."""


def instructions() -> Set[str]:
    """The instruction sets of this processor, in the system's words."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return frozenset({platform.processor() or platform.machine()})
    words = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), [])
    if platform.machine() in ("x86_64", "AMD64", "i686"):
        words = filter(_COMPILED_FOR.match, words)
    return frozenset(words)


def libc() -> tuple[str, tuple[int, ...]]:
    """Name and version of the C library: ("glibc", (2, 36))."""
    with suppress(AttributeError, ValueError, OSError):  # systems without confstr, or without this name
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
        return name, tuple(map(int, version.split(".")))
    return platform.system(), ()
