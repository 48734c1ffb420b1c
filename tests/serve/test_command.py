"""`hypernetworks text serve` as a process: it prints its address, stops on signals, and reports errors in one line."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from hypernetworks import cli

from .clients import events

TEXT = "".join(f"{n} is {n * n}, and its half {n / 2}: so it stands.\n" for n in range(60))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve")
    (folder / "toy.txt").write_text(TEXT)
    given = (
        f"text train --corpus {folder}/toy.txt --hidden-size 8 --embedding-size 5 --hyper-size 4 --steps 2 --warmup 1"
    )
    given += f" --evaluate-every 2 --batch-size 2 --length 8 --device cpu --out {folder}/hyper"
    assert cli.main(given.split()) == 0
    return folder / "hyper"


@contextmanager
def process(*given: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The server process and its address."""
    program = [sys.executable, "-c", "import sys; from hypernetworks.cli import main; sys.exit(main())"]
    environment = {**os.environ, "HYPERNETWORKS_BACKEND": "reference"}
    command = [*program, "text", "serve", *given, "--port", "0", "--max-length", "100000000"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            match = re.match(r"(http://127\.0\.0\.1:\d+)  \(the API: /docs; Ctrl-C stops\)\n", server.stdout.readline())
            assert match is not None, server.stderr and server.stderr.read()
            yield server, match[1]
        finally:
            server.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 0)])
def test_it_requires_the_token_and_ends_its_streams_when_stopped(
    run: Path, number: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPERNETWORKS_TOKEN", "s3cret")
    with process(str(run)) as (server, address), httpx.Client(base_url=address, timeout=60) as client:
        assert client.get("/api/runs").status_code == 401
        client.headers["Authorization"] = "Bearer s3cret"
        runs = client.get("/api/runs").json()["runs"]
        assert [(each["name"], each["frozen_of"]) for each in runs] == [("hyper", None), ("hyper, frozen", "hyper")]
        with client.stream("POST", "/api/generate", json={"length": 10**8}) as answer:
            stream = events(answer.iter_lines())
            assert [next(stream)[0] for _ in range(2)] == ["prompt", "text"]
            server.send_signal(number)
            *_, last = stream
        assert last == ("end", {"reason": "shutdown"})
        assert server.wait(30) == code
        assert server.stderr is not None
        assert server.stderr.read() == ""


def test_a_port_in_use_is_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["text", "serve", str(run), "--port", str(port)]) == 1
    assert capsys.readouterr().err == (
        f"hypernetworks: cannot listen on 127.0.0.1, port {port}: Address already in use; "
        "choose another with --host and --port\n"
    )


@pytest.mark.parametrize(
    ("given", "warns"),
    [
        (["--host", "0.0.0.0"], True),
        (["--host", "::"], True),
        (["--host", "0.0.0.0", "--token", "s3cret"], False),
        (["--host", "127.0.0.1"], False),
        (["--host", "localhost"], False),
        (["--host", "::1"], False),
    ],
    ids=str,
)
def test_a_server_that_others_can_reach_warns_unless_it_has_a_token(
    run: Path, given: list[str], warns: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HYPERNETWORKS_TOKEN", raising=False)
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: None)
    if ":" in given[1] and not socket.has_dualstack_ipv6():
        pytest.skip("this system has no IPv6")
    assert cli.main(["text", "serve", str(run), "--port", "0", *given]) == 0
    out, err = capsys.readouterr()
    port = re.search(r":(\d+)  \(the API", out)
    assert port
    warning = f"anyone who can reach port {port[1]} can use this server: set --token or $HYPERNETWORKS_TOKEN\n"
    assert err == (warning if warns else "")


NONSENSE = {
    "{0} --port 70000": (2, r"port should be between 0 \(any free port\) and 65535, got 70000"),
    "{0} --host 1.2.3": (1, "cannot listen on 1.2.3, port 8000: "),
    "{0} {0}": (2, "the two runs should differ, got .*hyper twice"),
    "{0} {0} {0}": (2, "serve takes one run or two, got 3"),
    "{0}/none": (2, "none: no such folder, expected a run"),
    "{0} --rows 0": (2, "rows should be at least 1, got 0"),
    "{0} --device warp": (2, "device should be auto, cpu, .* got 'warp'"),
    "": (2, "."),
}


@pytest.mark.parametrize("words", NONSENSE)
def test_nonsense_is_one_line(run: Path, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, line = NONSENSE[words]
    assert cli.main(["text", "serve", *words.format(run).split()]) == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(line, error), error


def test_without_its_extra_it_says_what_to_install(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    for name in [name for name in sys.modules if name.startswith("hypernetworks.serve.")]:
        if name not in ("hypernetworks.serve.command", "hypernetworks.serve.batch", "hypernetworks.serve.engine"):
            monkeypatch.delitem(sys.modules, name)
    package = sys.modules["hypernetworks.serve"]
    for name in ("api", "server"):
        monkeypatch.delattr(package, name, raising=False)
    assert cli.main(["text", "serve", str(run)]) == 1
    assert capsys.readouterr().err == (
        "hypernetworks: text serve requires fastapi, which is not installed: pip install 'hypernetworks[serve]'\n"
    )
