"""The user's C++ compiler: where it is, with which flags it runs, whether it has OpenMP, and a compilation with it.

Compilers end with this process, however it ends.
"""

import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from .limits import MEMORY_OF_A_COMPILER, compilers_at_once

SOURCES = Path(__file__).parent.parent
KERNELS = tuple(sorted(path.name for path in SOURCES.glob("*.cpp")))
TYPES = ("float", "double")
FLAGS = ("-std=c++20", "-O3", "-fPIC", "-fno-math-errno", "-fvisibility=hidden")

_OPENMP = (
    "#include <omp.h>\nint count() { int n = 0;\n#pragma omp parallel\n n = omp_get_num_threads();\n return n; }\n"
)
_WITHOUT = "int count() { return 1; }\n"

# A shell that runs its arguments. When its input is closed, it kills itself and all that they started: the system closes the
# input when the process that started the shell ends.
_ATTENDED = """
exec 3<&0 </dev/null
(read _ <&3; kill -KILL 0) >/dev/null 2>&1 &
guard=$!
"$@" 3<&-
code=$?
kill $guard 2>/dev/null
exit $code
"""


_KILLED = re.compile(r"\b(Killed|Terminated|terminated program|due to signal|unable to execute command)\b")
_MIB = MEMORY_OF_A_COMPILER // 2**20


class BuildError(RuntimeError):
    """Why there are no kernels and what to do about it, in one line."""


class KilledError(BuildError):
    """A compiler did not end by itself."""


def find_compiler() -> list[str]:
    """The command of the C++ compiler: $CXX, or the first of c++, g++, clang++ that exists.

    Raises:
        BuildError: there is none.
    """
    asked = _words("CXX")
    for command in [asked] if asked else [["c++"], ["g++"], ["clang++"]]:
        if found := shutil.which(command[0]):
            return [found, *command[1:]]
    missing = f"CXX={shlex.join(asked)} is not there" if asked else "there is no C++ compiler"
    install = "install one (apt-get install g++, or xcode-select --install) or set CXX to yours"
    raise BuildError(f"{missing}: {install}; on Linux x86-64, pip install 'hypernetworks[kernels]' needs none")


def _words(variable: str) -> list[str]:
    try:
        return shlex.split(os.environ.get(variable, ""))
    except ValueError as error:
        raise BuildError(f"{variable}={os.environ[variable]} cannot be read ({error}): correct or unset it") from error


def extra_flags() -> list[str]:
    """The flags in $HYPERNETWORKS_CXXFLAGS."""
    return _words("HYPERNETWORKS_CXXFLAGS")


def flags() -> list[str]:
    """All flags: for this processor, and the extra ones last."""
    native = "-mcpu=native" if platform.machine().lower() in ("arm64", "aarch64") else "-march=native"
    return [*FLAGS, native, *extra_flags()]


def version(compiler: Sequence[str]) -> str:
    """The first line of what `--version` prints."""
    try:
        printed = subprocess.run(
            [*compiler, "--version"], capture_output=True, text=True, errors="replace", timeout=60, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return printed.partition("\n")[0]


def has_openmp(compiler: Sequence[str], folder: Path) -> bool:
    """Whether the compiler has OpenMP. Apple's does not, and clang needs a package for it.

    Only a compiler that fails with OpenMP and works without is one that lacks it: one that was killed or cannot run is broken.

    Raises:
        BuildError: it is broken.
    """
    source, made = folder / "probe.cpp", str(folder / "probe.so")
    command = [*compiler, *flags(), "-shared", str(source), "-o", made]
    source.write_text(_OPENMP)
    try:
        _run_all([[*command, "-fopenmp"]], folder)
    except KilledError:
        raise
    except BuildError:
        source.write_text(_WITHOUT)
        _run_all([command], folder)
        return False
    return True


def compile_library(command: Sequence[str], folder: Path) -> Path:
    """Compile each kernel for each type, and link all to one library in `folder`. `command` is the compiler with its flags.

    Raises:
        BuildError: a compiler failed or was killed.
    """
    objects = {(kernel, kind): str(folder / f"{kernel}.{kind}.o") for kernel in KERNELS for kind in TYPES}
    compiling = [
        [*command, "-c", str(SOURCES / kernel), f"-DHN_TYPE={kind}", "-o", made]
        for (kernel, kind), made in objects.items()
    ]
    _run_all(compiling, folder)
    library = folder / "kernels.so"
    _run_all([[*command, "-shared", *objects.values(), "-o", str(library)]], folder)
    return library


def _run_all(commands: Sequence[Sequence[str]], folder: Path) -> None:
    """Run the commands, as many at once as fit. Stop all at the first failure, and if this process is interrupted."""
    waiting = list(enumerate(commands))
    running: dict[int, subprocess.Popen[bytes]] = {}
    most = compilers_at_once()
    try:
        while waiting or running:
            while waiting and len(running) < most:
                number, command = waiting.pop(0)
                running[number] = _start(command, folder / f"{number}.log")
            time.sleep(0.01)
            for number in [number for number, process in running.items() if process.poll() is not None]:
                process = running.pop(number)
                _stop(process)
                if process.returncode:
                    raise _failure(commands[number][0], process.returncode, folder / f"{number}.log")
    finally:
        for process in running.values():
            _stop(process)


def _start(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        return subprocess.Popen(
            ["/bin/sh", "-c", _ATTENDED, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it started, if it has not ended."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _failure(program: str, code: int, log: Path) -> BuildError:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    if code in (126, 127):
        return BuildError(f"{program} cannot be run ({' '.join(lines[-1:])}): set CXX to a C++ compiler")
    said = next((line for line in lines if "error" in line), next(iter(lines), f"exit code {code}"))
    if code < 0 or 128 < code <= 128 + 64 or any(map(_KILLED.search, lines)):
        return KilledError(f"the C++ compiler was killed ({said}): free some memory, it needs {_MIB} MiB")
    return BuildError(f"the C++ compiler failed ({said}): set CXX to one that knows C++20")
