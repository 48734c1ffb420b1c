"""Firefox, driven by Marionette, the protocol that it has built in: JSON messages over a socket."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key of an element's identifier, from the WebDriver specification."""

PROGRAM = shutil.which("firefox-esr") or shutil.which("firefox")
SECONDS = 60.0


class Firefox:
    """A session with one window."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._unread = b""
        self._count = 0
        self._message()  # its greeting
        self._command("WebDriver:NewSession", capabilities={})

    def open(self, address: str) -> None:
        self._command("WebDriver:Navigate", url=address)

    def run(self, script: str, *given: Any) -> Any:
        """What a script returns."""
        return self._command("WebDriver:ExecuteScript", script=script, args=list(given))["value"]

    def wait(self, expression: str) -> Any:
        """The value of an expression, once it is one that counts as true."""
        end = time.monotonic() + SECONDS
        while not (value := self.run(f"return {expression}")):
            assert time.monotonic() < end, expression
            time.sleep(0.05)
        return value

    def click(self, selector: str) -> None:
        self._command("WebDriver:ElementClick", id=self._element(selector))

    def type(self, selector: str, text: str) -> None:
        """Type a text in place of the one that is there."""
        self._command("WebDriver:ElementClear", id=self._element(selector))
        self._command("WebDriver:ElementSendKeys", id=self._element(selector), text=text)

    def quit(self) -> None:
        self._command("Marionette:Quit", flags=["eForceQuit"])

    def _element(self, selector: str) -> str:
        return self._command("WebDriver:FindElement", using="css selector", value=selector)["value"][ELEMENT]

    def _command(self, name: str, **parameters: Any) -> Any:
        self._count += 1
        message = json.dumps([0, self._count, name, parameters]).encode()
        self._connection.sendall(b"%d:%s" % (len(message), message))
        _, _, error, result = self._message()
        assert error is None, (name, error)
        return result

    def _message(self) -> Any:
        """A message: its length in bytes, a colon, and JSON."""
        while b":" not in self._unread:
            self._receive()
        length, _, self._unread = self._unread.partition(b":")
        while len(self._unread) < int(length):
            self._receive()
        message, self._unread = self._unread[: int(length)], self._unread[int(length) :]
        return json.loads(message)

    def _receive(self) -> None:
        received = self._connection.recv(2**16)
        assert received, "Firefox has closed the connection"
        self._unread += received


@contextmanager
def firefox(profile: Path, language: str = "en-US") -> Iterator[Firefox]:
    """A Firefox without a window on the screen and with a new profile in a folder."""
    settings = {"marionette.port": 0, "intl.accept_languages": language, "browser.shell.checkDefaultBrowser": False}
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in settings.items()]
    (profile / "user.js").write_text("\n".join(lines))
    command = [str(PROGRAM), "--headless", "--marionette", "--no-remote", "--profile", str(profile)]
    port = profile / "MarionetteActivePort"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + SECONDS
            while not (port.exists() and port.read_text()):
                assert process.poll() is None, "Firefox did not start"
                assert time.monotonic() < end, "Firefox did not open its port"
                time.sleep(0.05)
            with socket.create_connection(("127.0.0.1", int(port.read_text())), timeout=SECONDS) as connection:
                browser = Firefox(connection)
                yield browser
                browser.quit()
            process.wait(SECONDS)
        finally:
            process.kill()
