"""A server that does right and wrong, for tests of fetching, and folders of the test's own to fetch into."""

import io
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

CONTENT = b"When shall we three meet again\n" * 40


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$HYPERNETWORKS_DATA and the cache are empty folders."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HYPERNETWORKS_DATA", str(tmp_path / "variable"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("text", content)
    return packed.getvalue()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        if self.path in ("/silent", "/endless-headers"):
            with suppress(OSError):
                for _ in range(100):
                    self.wfile.write(b"x" if self.path == "/endless-headers" else b"")
                    time.sleep(0.02)
            return
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", "file:///etc/hostname")
            self.end_headers()
            return
        if self.path == "/gone":
            self.send_error(404)
            return
        self.send_response(200)
        self.end_headers()
        if self.path == "/endless":
            for _ in range(600):
                try:
                    self.wfile.write(b"x")
                    self.wfile.flush()
                except OSError:
                    return
                time.sleep(0.01)
        elif self.path == "/large":
            self.wfile.write(CONTENT * 2)
        elif self.path == "/wrong":
            self.wfile.write(CONTENT[:-1] + b"!")
        elif self.path == "/text.zip":
            self.wfile.write(zipped(CONTENT))
        else:
            self.wfile.write(self.server.files.get(self.path, CONTENT))  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.asked, http.files = [], {}  # type: ignore[attr-defined]
        thread = threading.Thread(target=partial(http.serve_forever, poll_interval=0.01))
        thread.start()
        yield http
        http.shutdown()
        thread.join()


def put(folder: Path, content: bytes = CONTENT, name: str = "text") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())
