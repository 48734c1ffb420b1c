"""What hatchling puts into the wheel of prebuilt kernels: a library and a manifest for each level of instruction sets."""

import shutil
import sys
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

_V2 = "cx16 popcnt sse sse2 sse4_1 sse4_2 ssse3"
_V3 = f"{_V2} abm avx avx2 bmi1 bmi2 f16c fma movbe xsave"
_V4 = f"{_V3} avx512bw avx512cd avx512dq avx512f avx512vl"
LEVELS = {
    "x86-64-v2": ("-march=x86-64-v2", _V2),
    "x86-64-v3": ("-march=x86-64-v3", _V3),
    "x86-64-v4": ("-march=x86-64-v4", _V4),
    "x86-64-v4-vnni": ("-march=x86-64-v4 -mavx512vnni", f"{_V4} avx512_vnni"),
}
"""The compiler's flags and the instruction sets that they allow, as Linux calls them.

Processors with AVX-512 have those of v4 from Skylake-SP on. The kernels use one set more, VNNI, for products with int8 weights.
"""
LIBC = ("glibc", (2, 28))
"""The one of the wheel's tag. build_wheel.py checks that the libraries need no newer one."""


class VersionHook(MetadataHookInterface):
    """Ties the wheel to the hypernetworks of its sources."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the dependency."""
        metadata["dependencies"] = [f"hypernetworks=={metadata['version']}"]


class KernelsHook(BuildHookInterface[Any]):
    """Compiles the libraries."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say which files belong to the wheel."""
        root = Path(self.root)
        self._folder = Path(mkdtemp())
        compile_all(root.parent / "src", self._folder)
        files = [*self._folder.glob("kernels-*"), root.parent / "LICENSE"]
        build_data["force_include"] |= {str(path): f"hypernetworks_kernels/{path.name}" for path in files}
        build_data |= {"pure_python": False, "tag": "py3-none-linux_x86_64"}

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the files."""
        shutil.rmtree(self._folder)


def compile_all(sources: Path, folder: Path) -> None:
    """Compile a library for each level and write it into the folder, with its manifest."""
    sys.path.insert(0, str(sources))
    from hypernetworks.recurrent.native.kernels import compiler
    from hypernetworks.recurrent.native.kernels.stored import Cache, Made, made_here

    program = compiler.find_compiler()
    for level, (flags, instructions) in LEVELS.items():
        part = folder / "part"
        part.mkdir()
        command = [*program, *compiler.FLAGS, *flags.split(), "-fopenmp", "-s"]
        library = compiler.compile_library(command, part)
        made = Made(made_here().sources, (), "Linux x86_64", tuple(sorted(instructions.split())), LIBC, openmp=True)
        Cache(folder).store(library, made, compiler.version(program), level)
        shutil.rmtree(part)
