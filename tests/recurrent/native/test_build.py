"""Building the library: once, whole or not at all, and one line where it cannot be had."""

import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hypernetworks.recurrent.native import build

USE = """
import torch, hypernetworks as hn
torch.manual_seed(0)
network, x = hn.HyperLSTM(3, 5, hyper_size=4, hyper_embedding_size=2), torch.randn(4, 2, 3)
output, _ = network(x)
with hn.use_backend("reference"):
    assert (network(x)[0] - output).abs().max() < 1e-5
print(hn.recurrent.native.build.library() is not None)
"""


def environment(tmp_path: Path, **variables: str) -> dict[str, str]:
    own = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HYPERNETWORKS_CXXFLAGS": "-O0", "HYPERNETWORKS_BACKEND": "auto"}
    return {**os.environ, **own, **variables}


def start(given: dict[str, str], program: str = USE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def falls_back(given: dict[str, str], why: str) -> None:
    """The network works, without kernels, and one line says why."""
    process = start(given)
    said, complaint = process.communicate()
    assert (process.returncode, said) == (0, "False\n"), complaint
    lines = [line for line in complaint.splitlines() if not line.startswith("building the native kernels")]
    assert len(lines) == 1, complaint
    assert lines[0].startswith("no native kernels, the reference path serves: ")
    assert why in lines[0]


def test_no_compiler(tmp_path):
    falls_back(environment(tmp_path, CXX="/nowhere/c++"), "CXX=/nowhere/c++ is not there: install one")
    falls_back(environment(tmp_path, CXX="", PATH=str(tmp_path)), "there is no C++ compiler: install one (apt-get")


def test_a_compiler_that_fails(tmp_path):
    falls_back(environment(tmp_path, CXX="false"), "the C++ compiler failed")
    given = environment(tmp_path, HYPERNETWORKS_CXXFLAGS="-no-such-flag")
    falls_back(given, "no-such-flag")
    assert not list((tmp_path / "cache" / "hypernetworks" / "native").glob("*.so"))


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "cache").write_text("a file")
    falls_back(environment(tmp_path), "set XDG_CACHE_HOME to a folder to write to")


def test_no_home_folder(tmp_path):
    given = environment(tmp_path, XDG_CACHE_HOME="")
    del given["HOME"]
    nobody = "import pwd\ndef none(uid):\n    raise KeyError\npwd.getpwuid = none\n"
    process = start(given, nobody + USE)
    said, complaint = process.communicate()
    assert (process.returncode, said) == (0, "False\n"), complaint
    assert complaint.count("\n") == 1
    assert "there is no home folder to build in: set XDG_CACHE_HOME" in complaint


@pytest.mark.parametrize("variable", ["CXX", "HYPERNETWORKS_CXXFLAGS"])
def test_a_quote_that_is_not_closed(tmp_path, variable):
    falls_back(environment(tmp_path, **{variable: 'g++ "'}), variable)


def test_a_compiler_that_is_no_program(tmp_path):
    (tmp_path / "c++").write_text("none")
    (tmp_path / "c++").chmod(0o700)
    falls_back(environment(tmp_path, CXX=str(tmp_path / "c++")), "set CXX")


def test_a_compiler_that_speaks_another_encoding(tmp_path):
    (tmp_path / "c++").write_text("#!/bin/sh\nprintf 'k\\351\\n' >&2\nprintf 'k\\351\\n'\nexit 1\n")
    (tmp_path / "c++").chmod(0o700)
    falls_back(environment(tmp_path, CXX=str(tmp_path / "c++")), "the C++ compiler failed")


def test_a_locale_without_utf8(tmp_path):
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    falls_back(environment(tmp_path, CXX="false", **plain), "the C++ compiler failed")


def test_a_library_that_is_none(tmp_path):
    given = environment(tmp_path)
    folder = tmp_path / "cache" / "hypernetworks" / "native"
    program = (
        "from hypernetworks.recurrent.native import build;"
        "build._build = lambda compiler, path: path.write_text('none');"
        "print(build.library())"
    )
    process = start(given, program)
    said, complaint = process.communicate()
    assert said == "None\n"
    assert complaint.count("\n") == 1
    assert list(folder.glob("*.so"))


def test_two_processes_build_once(tmp_path):
    given = environment(tmp_path)
    both = [start(given), start(given)]
    told = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert [said for said, _ in told] == ["True\n", "True\n"]
    assert "".join(complaint for _, complaint in told).count("building the native kernels") == 1


def test_a_build_that_is_killed_leaves_nothing_that_is_taken_for_whole(tmp_path):
    given = environment(tmp_path)
    folder = tmp_path / "cache" / "hypernetworks" / "native"
    process = start(given)
    while not list(folder.glob("*/")):  # until the compilers are at work
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)  # and its compilers
    process.communicate()
    assert not list(folder.glob("*.so"))
    again = start(given)
    assert again.communicate()[0] == "True\n"


def test_the_key_holds_all_that_matters(monkeypatch, tmp_path):
    compiler = build.find_compiler()
    keys = [build._key(compiler)]
    assert build._key(compiler) == keys[0]
    monkeypatch.setenv("HYPERNETWORKS_CXXFLAGS", "-DSOMETHING")
    keys.append(build._key(compiler))
    keys.append(build._key([*compiler, "-m64"]))
    with monkeypatch.context() as patch:
        patch.setattr(build, "_processor", lambda: "another")
        keys.append(build._key(compiler))
    with monkeypatch.context() as patch:
        patch.setattr(build.torch, "__version__", "another")
        keys.append(build._key(compiler))
    shutil.copytree(build.SOURCES, tmp_path / "sources")
    monkeypatch.setattr(build, "SOURCES", tmp_path / "sources")
    assert build._key(compiler) == keys[1]
    with (tmp_path / "sources" / "lstm_cell.h").open("a") as file:
        file.write("// changed\n")
    keys.append(build._key(compiler))
    assert len(set(keys)) == len(keys)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the flag is x86's")
@pytest.mark.skipif(
    "HYPERNETWORKS_LONG" not in os.environ, reason="takes a minute or more: HYPERNETWORKS_LONG=1 runs it"
)
def test_narrow_vectors(tmp_path):
    given = environment(tmp_path, HYPERNETWORKS_CXXFLAGS="-march=x86-64 -O1")
    chosen = ["-p", "no:randomly", "-k", "odd_sizes or packed", "--timeout", "250"]
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", *chosen, str(Path(__file__).with_name("test_parity.py"))],
        env=given,
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert process.returncode == 0, process.stdout
    assert " passed" in process.stdout


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
@pytest.mark.parametrize("kernel", build.KERNELS)
def test_a_compiler_takes_the_sources_without_a_word(compiler, kernel):
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler}")
    probe = [compiler, "-fopenmp", "-fsyntax-only", "-x", "c++", "-"]
    has_openmp = not subprocess.run(
        probe, input="#include <omp.h>", capture_output=True, text=True, check=False
    ).returncode
    for kind in build.TYPES:
        command = [
            compiler,
            *build.flags(),
            *["-fopenmp"] * has_openmp,
            "-Wall",
            "-Wextra",
            "-fsyntax-only",
            f"-DHN_TYPE={kind}",
        ]
        done = subprocess.run([*command, str(build.SOURCES / kernel)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
