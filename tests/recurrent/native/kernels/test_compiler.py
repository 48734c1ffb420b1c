"""The compiler: with and without OpenMP, killed, failing, and several at once."""

import pytest

from hypernetworks.doctor import Doctor
from hypernetworks.recurrent.native.kernels import BuildError, compiler

from .fake import calls, fake_compiler


def no_openmp(tmp_path) -> str:
    return str(fake_compiler(tmp_path, 'case "$*" in *-fopenmp*) echo "unsupported option -fopenmp"; exit 1;; esac'))


def test_without_openmp_the_kernels_run_on_one_thread_and_doctor_says_so(first, tmp_path, capsys):
    assert "has no OpenMP: the native kernels run on one thread" in first.succeeds(CXX=no_openmp(tmp_path))[0]
    assert first.succeeds() == []
    Doctor()()
    assert "on one thread only, the compiler had no OpenMP" in capsys.readouterr().out
    # a compiler with OpenMP is used as soon as there is one
    assert "compiling" in first.succeeds(CXX=str(fake_compiler(tmp_path)))[0]
    Doctor()()
    assert "compiled by fake 1.0, threads by OpenMP" in capsys.readouterr().out


@pytest.mark.parametrize(
    "death", ["kill -KILL $$", "echo 'g++: fatal error: Killed signal terminated program cc1plus'; exit 1"]
)
def test_a_killed_compiler_is_not_one_without_openmp(tmp_path, death):
    fake = fake_compiler(tmp_path, f'case "$*" in *-fopenmp*) {death};; esac')
    with pytest.raises(BuildError, match=r"the C\+\+ compiler was killed .*: free some memory"):
        compiler.has_openmp([str(fake)], tmp_path)


def test_a_compiler_that_fails_with_and_without_openmp_is_broken(tmp_path):
    fake = fake_compiler(tmp_path, "echo 'error: no licence'; exit 1")
    with pytest.raises(BuildError, match=r"the C\+\+ compiler failed \(error: no licence\)"):
        compiler.has_openmp([str(fake)], tmp_path)


def test_the_real_compiler_has_openmp(tmp_path):
    # the tests of threads need it
    assert compiler.has_openmp(compiler.find_compiler(), tmp_path)


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_compilers_run_than_fit(tmp_path, monkeypatch, most):
    monkeypatch.setattr(compiler, "compilers_at_once", lambda: most)
    running, seen = tmp_path / "running", tmp_path / "seen"
    running.mkdir()
    count = f"touch {running}/$$; ls {running} | wc -l >> {seen}; sleep 0.1; rm {running}/$$"
    compiler.compile_library([str(fake_compiler(tmp_path, count))], tmp_path)
    assert max(map(int, seen.read_text().split())) == most
    assert len(calls(tmp_path).read_text().splitlines()) == 2 * len(compiler.KERNELS) + 1


def test_the_first_failure_ends_all(tmp_path, monkeypatch):
    monkeypatch.setattr(compiler, "compilers_at_once", lambda: 2)
    fake = fake_compiler(tmp_path, 'case "$*" in *gru.cpp*float*) echo "error: bad"; exit 1;; *) sleep 100;; esac')
    with pytest.raises(BuildError, match="error: bad"):
        compiler.compile_library([str(fake)], tmp_path)
