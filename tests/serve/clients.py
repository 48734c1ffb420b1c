"""Small models, running engines and servers, and clients for them."""

import json
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import torch
from fastapi import FastAPI

from hypernetworks.serve.api import make_app
from hypernetworks.serve.batch import Batch
from hypernetworks.serve.engine import Engine
from hypernetworks.serve.job import Job
from hypernetworks.serve.limits import Limits
from hypernetworks.serve.server import TimeLimits, listen, make_server
from hypernetworks.serve.server import names as host_names
from hypernetworks.serve.stream import Reason, Stream
from hypernetworks.text.coloured import Letter
from hypernetworks.text.config import Symbols
from hypernetworks.text.generate import Sampling
from hypernetworks.text.model import CharacterModel, CharacterModelConfig

SYMBOLS = Symbols(tuple("\n abcdefg"), "character")


def make_batch(network: str = "hyper-lstm", hidden: int = 8, symbols: Symbols = SYMBOLS, layers: int = 1) -> Batch:
    """A batch whose weights are large enough that every character depends on those before."""
    config = CharacterModelConfig(network, hidden, layers, embedding_size=6, hyper_size=4, hyper_embedding_size=2)
    torch.manual_seed(0)
    model = CharacterModel(config, len(symbols.alphabet))
    with torch.no_grad():
        model.head.weight.mul_(8)
    return Batch(model, symbols)


class Client:
    """Receives the text of a job."""

    def __init__(self, run: str = "run", prompt: str = "ab", **job: Any) -> None:
        self.ready = Event()
        settings = {name: job.pop(name) for name in ("length", "temperature", "top_k", "seed") if name in job}
        self.job = Job(run, prompt, Sampling(**settings), Stream(self.ready.set), **job)
        self.prompt: list[Letter] | None = None
        self.letters: list[Letter] = []
        self.reason: Reason | None = None

    @property
    def text(self) -> str:
        return "".join(letter.text for letter in self.letters)

    def look(self) -> "Client":
        """Take the available letters."""
        self.ready.clear()
        prompt, letters, self.reason = self.job.stream.take()
        self.prompt = self.prompt if prompt is None else list(prompt)
        self.letters += letters
        return self

    def wait(self, enough: Callable[["Client"], bool] = lambda client: client.reason is not None) -> "Client":
        """Take letters until the end, or until there are enough."""
        while not enough(self.look()):
            assert self.ready.wait(60)
        return self


@contextmanager
def running(*batches: Batch, rows: int = 8, queue: int = 8) -> Iterator[Engine]:
    """A running engine. The first run is called "run", the second "run2"."""
    names = ("run", "run2")
    engine = Engine(dict(zip(names, batches, strict=False)), rows, queue)
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()
        engine.join()


@contextmanager
def serving(
    *batches: Batch,
    limits: Limits | None = None,
    token: str | None = None,
    send_buffer: int = 0,
    root_path: str = "",
    allowed: Sequence[str] = (),
    names: Sequence[str] = ("run", "run2"),
) -> Iterator[str]:
    """A server running in a thread; yields its address."""
    limits = limits or Limits()
    engine = Engine(dict(zip(names, batches, strict=False)), limits.rows, limits.queue)
    app = make_app(engine, limits, host_names("127.0.0.1", allowed), token)
    with serving_app(app, engine.stop, limits, root_path, send_buffer) as address:
        yield address


@contextmanager
def serving_app(
    app: FastAPI, stop: Callable[[], None], limits: TimeLimits, root_path: str = "", send_buffer: int = 0
) -> Iterator[str]:
    """Any application in a thread; yields its address."""
    with listen("127.0.0.1", 0) as listening:
        if send_buffer:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        server = make_server(app, stop, limits, root_path)
        thread = Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def events(lines: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """The events of a stream with their JSON data."""
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))
