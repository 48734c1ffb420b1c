"""Compiling the library: once, whole or not at all, and one line if it cannot be had."""

import contextlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from hypernetworks.recurrent.native.kernels import compiler

from .fake import USE, environment, fake_compiler, start


def test_no_compiler(first, tmp_path):
    first.falls_back("CXX=/nowhere/c++ is not there: install one", CXX="/nowhere/c++")
    first.falls_back("there is no C++ compiler: install one (apt-get", CXX="", PATH=str(tmp_path))


def test_a_compiler_that_fails(first, tmp_path):
    first.falls_back("the C++ compiler failed", CXX="false")
    first.falls_back("no-such-flag", CXX="", HYPERNETWORKS_CXXFLAGS="-no-such-flag")
    assert not list((tmp_path / "cache" / "hypernetworks" / "native").glob("*.so"))


def test_a_folder_that_cannot_be_written(first, tmp_path):
    (tmp_path / "cache").write_text("a file")
    first.falls_back("set XDG_CACHE_HOME to a folder to write to")


def test_a_path_that_is_too_long(first, tmp_path):
    first.falls_back("File name too long", XDG_CACHE_HOME="/tmp/" + "x" * 300)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root may act as another user")
def test_a_folder_that_this_user_may_not_search(first, tmp_path):
    first.succeeds(CXX=str(fake_compiler(tmp_path)))
    (tmp_path / "cache").chmod(0o700)
    tmp_path.chmod(0o755)
    other = ["setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-c", "pass"]
    if subprocess.run(other, check=False).returncode:
        pytest.skip("another user may not run this Python")
    program = "from hypernetworks.recurrent.native.kernels import library; print(library())"
    done = subprocess.run(
        [*other[:-1], program], env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "None\n"), done.stderr
    assert "Permission denied" in done.stderr


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
def test_a_quote_that_is_not_closed(first, tmp_path, variable):
    first.falls_back(variable, **{variable: 'g++ "'})


def test_a_compiler_that_is_no_program(first, tmp_path):
    (tmp_path / "c++").write_text("none")
    (tmp_path / "c++").chmod(0o700)
    first.falls_back("set CXX", CXX=str(tmp_path / "c++"))


def test_a_compiler_that_speaks_another_encoding(first, tmp_path):
    (tmp_path / "c++").write_text("#!/bin/sh\nprintf 'k\\351\\n' >&2\nprintf 'k\\351\\n'\nexit 1\n")
    (tmp_path / "c++").chmod(0o700)
    first.falls_back("the C++ compiler failed", CXX=str(tmp_path / "c++"))


def test_in_a_process_of_its_own(tmp_path):
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    process = start(environment(tmp_path, CXX="false", **plain))
    printed, log = process.communicate()
    assert (process.returncode, printed) == (0, "False\n"), log
    assert log.splitlines() == [
        "no native kernels, the reference path serves: the C++ compiler failed (exit code 1): set CXX to one that knows C++20"
    ]


def test_a_library_that_is_none(first, tmp_path):
    fake = fake_compiler(tmp_path)
    fake.write_text(fake.read_text().replace("cp ", 'echo none > "$2"; : cp '))
    first.falls_back("the library cannot be loaded", CXX=str(fake))


def test_two_processes_compile_once(tmp_path):
    given = environment(tmp_path, HYPERNETWORKS_CXXFLAGS="-O0")
    both = [start(given), start(given)]
    told = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert [said for said, _ in told] == ["True\n", "True\n"]
    log = "".join(complaint for _, complaint in told)
    assert log.count("compiling the native kernels") == 1
    assert "waiting for another process" in log


def test_a_process_waits_for_a_limited_time(tmp_path):
    folder = native(tmp_path)
    folder.mkdir(parents=True, mode=0o700)
    program = "from hypernetworks.recurrent.native import kernels\nkernels.PATIENCE = 0.1\nprint(kernels.library())"
    with FileLock(folder / "lock"):
        printed, log = start(environment(tmp_path), program).communicate()
    assert printed == "None\n"
    assert "another process has been compiling" in log


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_compilers_end_with_their_process_and_nothing_is_kept(first, tmp_path, end):
    pids = tmp_path / "pids"
    fake = fake_compiler(
        tmp_path, f"case $* in *kernels.so*) ;; *lstm.cpp*) echo $$ >> {pids}; sleep 100 & wait;; esac"
    )
    given = environment(tmp_path, CXX=str(fake))
    process = start(given)
    while not (pids.exists() and pids.read_text()):
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, end)
    process.communicate()
    assert process.returncode
    for pid in map(int, pids.read_text().split()):
        assert ends(pid)
    assert not list(native(tmp_path).glob("*.so"))
    assert first.succeeds(CXX=str(fake_compiler(tmp_path)))
    assert not list(native(tmp_path).glob("building-*"))


def ends(pid: int) -> bool:
    """Whether a process ends soon."""
    for _ in range(500):
        with contextlib.suppress(FileNotFoundError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                time.sleep(0.01)
                continue
        return True
    return False


def native(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "hypernetworks" / "native"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the flag is x86's")
@pytest.mark.skipif(
    "HYPERNETWORKS_LONG" not in os.environ, reason="takes a minute or more: HYPERNETWORKS_LONG=1 runs it"
)
def test_narrow_vectors(tmp_path):
    given = environment(tmp_path, HYPERNETWORKS_CXXFLAGS="-march=x86-64 -O1")
    chosen = ["-p", "no:randomly", "-k", "odd_sizes or packed", "--timeout", "250"]
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", *chosen, str(Path(__file__).parents[1] / "test_parity.py")],
        env=given,
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[4],
    )
    assert process.returncode == 0, process.stdout
    assert " passed" in process.stdout


@pytest.mark.parametrize("program", ["g++", "clang++"])
@pytest.mark.parametrize("kernel", compiler.KERNELS)
def test_a_compiler_takes_the_sources_without_a_word(program, kernel):
    if shutil.which(program) is None:
        pytest.skip(f"there is no {program}")
    probe = [program, "-fopenmp", "-fsyntax-only", "-x", "c++", "-"]
    has_openmp = not subprocess.run(
        probe, input="#include <omp.h>", capture_output=True, text=True, check=False
    ).returncode
    for kind in compiler.TYPES:
        command = [
            program,
            *compiler.flags(),
            *["-fopenmp"] * has_openmp,
            "-Wall",
            "-Wextra",
            "-fsyntax-only",
            f"-DHN_TYPE={kind}",
        ]
        done = subprocess.run([*command, str(compiler.SOURCES / kernel)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
