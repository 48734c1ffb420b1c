"""The API over real connections: streams, refused requests, and a server that survives all of them."""

import asyncio
import json
import re
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from hypernetworks.errors import UsageError
from hypernetworks.serve import events as serve_events
from hypernetworks.serve.guard import Patience
from hypernetworks.serve.limits import Limits
from hypernetworks.serve.pages import KINDS, TEXT_PAGE
from hypernetworks.serve.server import greeting, names
from hypernetworks.text.config import Symbols
from hypernetworks.text.generate import Sampling, generate

from .clients import SYMBOLS, events, make_batch, serving

BATCHES = make_batch("hyper-lstm"), make_batch("lstm")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(*BATCHES, limits=Limits(max_prompt=50, max_length=10**8)) as address:
        yield address


def ask(address: str, **request: Any) -> list[tuple[str, Any]]:
    answer = httpx.post(f"{address}/api/generate", json=request, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return list(events(answer.text.splitlines()))


def text_of(stream: list[tuple[str, Any]]) -> str:
    return "".join(data["text"] for name, data in stream if name == "text")


@pytest.mark.parametrize(("run", "batch"), [("run", BATCHES[0]), ("run2", BATCHES[1])])
def test_a_stream_is_the_text_its_changes_and_why_it_ends(address: str, run: str, batch: Any) -> None:
    stream = ask(address, run=run, prompt="abc", length=60, seed=4, top_k=6, temperature=1.2)
    assert text_of(stream) == "".join(
        generate(batch.model, SYMBOLS.alphabet, "character", "abc", Sampling(60, 1.2, 6, seed=4))
    )
    assert [name for name, _ in stream if name != "text"] == ["prompt", "end"]
    assert stream[0][1]["text"] == "abc"
    assert stream[-1] == ("end", {"reason": "length"})
    changes = [change for name, data in stream if name != "end" for change in data["changes"]]
    assert len(changes) == 3 + 60
    gates = len(batch.change.gates)
    assert changes[0] is None
    assert all(
        (change and len(change) == gates and min(change) >= 0) if gates else change is None for change in changes[1:]
    )


def test_what_is_left_out_has_defaults(address: str) -> None:
    batch = BATCHES[0]
    assert text_of(ask(address)) == "".join(generate(batch.model, SYMBOLS.alphabet, "character", "", Sampling()))


def test_many_at_once_each_get_their_own_text(address: str) -> None:
    """The text is the same alone and among 19 others: these logits differ by far more than rounding."""
    requests = [{"run": ("run", "run2")[k % 2], "prompt": "abcdefg"[k % 7], "seed": k, "length": 50} for k in range(20)]
    alone = [text_of(ask(address, **request)) for request in requests]
    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(lambda request: text_of(ask(address, **request)), requests)) == alone


def test_the_runs_are_described(address: str) -> None:
    response = httpx.get(f"{address}/api/runs").json()
    assert [response[f"max_{name}"] for name in ("prompt", "length", "details")] == [50, 10**8, 1000]
    first, second = response["runs"]
    assert first == {
        "name": "run",
        "network": "hyper-lstm",
        "layers": 1,
        "parameters": sum(parameter.numel() for parameter in BATCHES[0].model.parameters()),
        "unit": "character",
        "alphabet": "\n abcdefg",
        "gates": ["i", "f", "g", "o"],
        "frozen_of": None,
        "gate_names": ["input gate i", "forget gate f", "candidate g", "output gate o"],
    }
    assert (second["network"], second["gates"]) == ("lstm", [])


def health(address: str) -> dict[str, Any]:
    answer = httpx.get(f"{address}/health")
    assert answer.status_code == 200
    return answer.json()


def wait_until_idle(address: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (response := health(address)) != {"status": "ok", "active": 0, "waiting": 0}:
        assert time.monotonic() < end, response


REFUSED: dict[str, tuple[dict[str, Any] | bytes, int, str]] = {
    "over-long": ({"prompt": "a" * 51}, 422, r"^prompt: string should have at most 50 characters, got 'aaa"),
    "unknown characters": ({"prompt": "abxé"}, 422, r"'x' at 2, 'é' at 3; expected one of '\\n abcdefg'"),
    "a zero byte": ({"prompt": "a\0"}, 422, r"'\\x00' at 1"),
    "half a surrogate pair": (b'{"prompt": "\\ud800"}', 422, r"^prompt: "),
    "half a pair for a name": (b'{"\\ud800": 1}', 422, "^the body: input should be a valid string"),
    "no such run": ({"run": "none"}, 422, "^run: input should be 'run' or 'run2', got 'none'"),
    "a prompt that is a number": ({"prompt": 3}, 422, "^prompt: input should be a valid string, got 3"),
    "length 0": ({"length": 0}, 422, "^length: input should be greater than or equal to 1, got 0"),
    "length huge": ({"length": 10**9}, 422, "^length: input should be less than or equal to 100000000, got 1000000000"),
    "length 1.5": ({"length": 1.5}, 422, "^length: input should be a valid integer"),
    "length true": ({"length": True}, 422, "^length: input should be a valid integer"),
    "cold": ({"temperature": -1}, 422, "^temperature: input should be greater than or equal to 0, got -1"),
    "not a number": (b'{"temperature": NaN}', 422, "^temperature: input should be a finite number|greater than"),
    "infinite": (b'{"temperature": 1e999}', 422, "^temperature: input should be"),
    "top_k -1": ({"top_k": -1}, 422, "^top_k: input should be greater than or equal to 0, got -1"),
    "seed of 65 bits": ({"seed": 2**64}, 422, "^seed: input should be less than"),
    "an integer of many digits": (b'{"seed": 1' + b"0" * 1500 + b"}", 422, "^seed: "),
    "top_p 0": ({"top_p": 0}, 422, "^top_p: input should be greater than 0, got 0"),
    "top_p 1.5": ({"top_p": 1.5}, 422, "^top_p: input should be less than or equal to 1, got 1.5"),
    "no such setting": ({"beam": 0.5}, 422, "^beam: extra inputs are not permitted, got 0.5"),
    "a list": (b"[1]", 422, "the body"),
    "empty": (b"", 422, "^the body: field required"),
    "no JSON": (b"prompt=a", 422, "^the body is not JSON: Expecting value at 0$"),
    "cut JSON": (b'{"prompt": "a', 422, "^the body is not JSON: Unterminated string starting at at 11$"),
    "no UTF-8": (b'{"prompt": "\xff\xfe"}', 400, "error parsing the body"),
    "nested deeply": (b"[" * 1500, 400, "error parsing the body"),
}


@pytest.fixture
def usual_depth() -> Iterator[None]:
    """Python's default recursion limit, which hypothesis raises in earlier tests."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.usefixtures("usual_depth")
def test_bad_input_is_one_sentence(address: str, what: str) -> None:
    given, status, sentence = REFUSED[what]
    content = given if isinstance(given, bytes) else json.dumps(given)
    answer = httpx.post(f"{address}/api/generate", content=content, headers={"Content-Type": "application/json"})
    detail = answer.json()["detail"]
    assert (answer.status_code, answer.json()) == (status, {"detail": detail})
    assert re.search(sentence, detail), detail
    assert len(detail) < 300
    assert "\n" not in detail
    assert text_of(ask(address, length=5)) == text_of(ask(address, length=5))


def test_a_body_that_is_too_large_is_not_read(address: str) -> None:
    answer = httpx.post(f"{address}/api/generate", content=b"a" * 10**7, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.text) == (413, "Content Too Large")


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("HEAD", "/api/generate", 405), ("POST", "/health", 405)]
)
def test_other_paths_and_methods_are_refused(address: str, method: str, path: str, status: int) -> None:
    assert httpx.request(method, address + path).status_code == status


@pytest.mark.parametrize("path", ["/", "/docs", "/page.js", "/api/runs", "/health", "/openapi.json"])
def test_head_is_get_without_the_body(address: str, path: str) -> None:
    head, whole = httpx.head(address + path), httpx.get(address + path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == whole.headers["content-type"]
    assert int(head.headers["content-length"]) == len(whole.content)


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_that_is_not_declared_as_json_is_refused(address: str, kind: str | None) -> None:
    """Among them requests that another site's page can send without a CORS preflight."""
    headers = {} if kind is None else {"Content-Type": kind}
    answer = httpx.post(f"{address}/api/generate", content='{"length": 5}', headers=headers)
    got = "none" if kind is None else repr(kind)
    assert answer.status_code == 415
    assert answer.json() == {"detail": f"the header Content-Type should be application/json, got {got}"}


def test_a_get_is_the_same_request_for_eventsource(address: str) -> None:
    settings: dict[str, Any] = {
        "run": "run2",
        "prompt": "ab",
        "length": 30,
        "seed": 7,
        "top_k": 5,
        "top_p": 0.9,
        "temperature": 1.5,
    }
    answer = httpx.get(f"{address}/api/generate", params=settings, headers={"Accept": "text/event-stream"})
    assert answer.status_code == 200
    assert list(events(answer.text.splitlines()))[-1] == ("end", {"reason": "length"})
    assert text_of(list(events(answer.text.splitlines()))) == text_of(ask(address, **settings))
    refused = httpx.get(f"{address}/api/generate", params={"length": "none"})
    assert (refused.status_code, refused.json()["detail"][:8]) == (422, "length: ")
    assert httpx.get(f"{address}/api/generate", params={"beam": 1}).status_code == 422


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)]
)
def test_another_page_s_images_and_links_are_refused(address: str, site: str, status: int) -> None:
    """They have no Origin, but browsers send where they come from."""
    answer = httpx.get(f"{address}/api/generate", params={"length": 3}, headers={"Sec-Fetch-Site": site})
    assert answer.status_code == status


def test_top_p_is_that_of_text_generate(address: str) -> None:
    settings: dict[str, Any] = {"length": 40, "temperature": 2.0, "top_p": 0.5}
    batch = BATCHES[0]
    expected = "".join(generate(batch.model, SYMBOLS.alphabet, "character", "ab", Sampling(seed=3, **settings)))
    assert text_of(ask(address, prompt="ab", seed=3, **settings)) == expected
    assert text_of(ask(address, prompt="ab", seed=3, length=40, temperature=2.0)) != expected


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost@evil.example"])
def test_another_host_name_is_refused(address: str, host: str) -> None:
    for path in ("/", "/api/runs", "/health"):
        answer = httpx.get(address + path, headers={"Host": host})
        assert answer.status_code == 400
        sentence = (
            f"start it with --allow-host {host}"
            if re.fullmatch(r"[\w.]+", host)
            else "should be the name of this server"
        )
        assert sentence in answer.json()["detail"]


def test_allowed_names_and_the_address_of_the_connection_are_accepted() -> None:
    """With or without a port. `--host 0.0.0.0` is used by the address that a client connects to."""
    with serving(BATCHES[1], allowed=["a.example", "*.b.example"]) as address:
        port = urlsplit(address).port
        hosts = ("a.example", f"A.example:{port}", "c.b.example", "127.0.0.1", "b.example", "xa.example", "127.0.0.2")
        found = [httpx.get(address + "/health", headers={"Host": host}).status_code for host in hosts]
    assert found == [200] * 4 + [400] * 3


@pytest.mark.parametrize("name", ["a.example:8000", "http://a.example", "a.example/", ""])
def test_an_allowed_name_is_a_name(name: str) -> None:
    with pytest.raises(UsageError, match="allow_host should be host names without scheme and port, got "):
        names("127.0.0.1", [name])


def test_other_machines_are_told_how_to_reach_the_server() -> None:
    assert greeting("127.0.0.1", 8000, []) == "http://127.0.0.1:8000  (the API: /docs; Ctrl-C stops)"
    everywhere = greeting("0.0.0.0", 8000, ["a.example"])
    assert everywhere.startswith("http://localhost:8000 ")
    assert "under this machine's addresses, a.example; --allow-host NAME adds a name" in everywhere
    assert "plain HTTP" in everywhere


@pytest.mark.parametrize("removed", [True, False])
def test_it_works_below_a_path_whether_a_proxy_removes_it_or_not(removed: bool) -> None:
    with serving(BATCHES[1], root_path="/user/me/") as address:
        below = address if removed else f"{address}/user/me"
        assert httpx.get(f"{below}/api/runs").status_code == 200
        assert httpx.get(f"{below}/docs").status_code == 200
        assert httpx.get(f"{below}/openapi.json").json()["servers"] == [{"url": "/user/me"}]
        assert text_of(ask(below, length=5))


@pytest.mark.parametrize("host", ["localhost", "[::1]"])
def test_this_machine_s_names_are_known(address: str, host: str) -> None:
    assert httpx.get(address + "/health", headers={"Host": f"{host}:{urlsplit(address).port}"}).status_code == 200


@pytest.mark.parametrize(("origin", "status"), [(None, 200), ("own", 200), ("http://evil.example", 403), ("null", 403)])
def test_another_page_s_requests_are_refused(address: str, origin: str | None, status: int) -> None:
    headers = {} if origin is None else {"Origin": address if origin == "own" else origin}
    answer = httpx.post(f"{address}/api/generate", json={"length": 3}, headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert origin in answer.json()["detail"]


def test_the_token_is_wanted_where_there_is_one() -> None:
    with serving(BATCHES[0], token="s3cret-ü") as address:
        for authorization in (None, "Bearer wrong", "Bearer", "Basic s3cret", "Bearer s3cret"):
            headers = {} if authorization is None else {"Authorization": authorization}
            for answer in (
                httpx.get(f"{address}/api/runs", headers=headers),
                httpx.post(f"{address}/api/generate", json={"length": 3}, headers=headers),
            ):
                assert answer.status_code == 401
                missing = authorization is None or authorization.startswith("Basic") or authorization == "Bearer"
                assert ("requires a token" if missing else "the token is wrong") in answer.json()["detail"]
                assert answer.headers["WWW-Authenticate"] == "Bearer"
        right = {"Authorization": "Bearer s3cret-ü".encode("latin-1")}
        assert httpx.get(f"{address}/api/runs", headers=right).status_code == 200
        assert httpx.post(f"{address}/api/generate", json={"length": 3}, headers=right).status_code == 200
        for path in ("/", "/docs", "/health", "/openapi.json"):
            assert httpx.get(address + path).status_code == 200


def test_a_client_that_goes_frees_its_work_within_a_second(address: str) -> None:
    with httpx.stream("POST", f"{address}/api/generate", json={"length": 10**8}, timeout=60) as answer:
        pieces = answer.iter_bytes()
        next(pieces)
        assert health(address)["active"] == 1
    wait_until_idle(address, 1)


def test_excess_requests_are_rejected() -> None:
    with (
        serving(BATCHES[0], limits=Limits(max_length=10**8, rows=1, queue=1)) as address,
        ThreadPoolExecutor(1) as pool,
    ):
        with httpx.stream("POST", f"{address}/api/generate", json={"length": 10**8}, timeout=60) as first:
            pieces = first.iter_bytes()
            next(pieces)
            waits = pool.submit(ask, address, length=5)
            while health(address)["waiting"] == 0:
                time.sleep(0.01)
            refused = httpx.post(f"{address}/api/generate", json={"length": 5})
            assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
            assert refused.json() == {"detail": "1 texts are being generated and 1 are queued: try again soon"}
        assert len(text_of(waits.result(60))) == 5


def test_a_text_s_time_is_bounded() -> None:
    with serving(BATCHES[0], limits=Limits(max_length=10**8, timeout=0.3)) as address:
        stream = ask(address, length=10**8)
    assert stream[-1] == ("end", {"reason": "time-out"})
    assert len(text_of(stream)) > 10


def test_a_request_that_does_not_come_is_not_waited_for() -> None:
    with serving(BATCHES[0], limits=Limits(patience=0.3)) as address:
        with socket.create_connection(("127.0.0.1", urlsplit(address).port or 0), timeout=30) as slow:
            slow.sendall(
                b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
                b'Content-Length: 20\r\n\r\n{"length"'
            )
            answer = b"".join(iter(lambda: slow.recv(10_000), b""))
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"the request did not arrive within 0.3 seconds" in answer


def test_a_request_that_trickles_in_is_not_waited_for() -> None:
    """The limit is of the whole request, so a byte now and then does not extend it."""
    with serving(BATCHES[0], limits=Limits(patience=0.5)) as address:
        with socket.create_connection(("127.0.0.1", urlsplit(address).port or 0), timeout=30) as slow:
            slow.sendall(
                b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
                b"Content-Length: 900\r\n\r\n"
            )
            slow.settimeout(0.1)
            answer, began = b"", time.monotonic()
            while not answer and time.monotonic() < began + 30:
                slow.sendall(b" ")
                with suppress(TimeoutError):
                    answer = slow.recv(10_000)
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_waiting_stream_has_heartbeats_and_says_that_proxies_should_not_collect_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serve_events, "HEARTBEAT", 0.05)
    with (
        serving(BATCHES[0], limits=Limits(max_length=10**8, rows=1, queue=1)) as address,
        httpx.stream("POST", f"{address}/api/generate", json={"length": 10**8}, timeout=60) as first,
    ):
        assert first.headers["x-accel-buffering"] == "no"
        pieces = first.iter_bytes()
        next(pieces)
        with httpx.stream("POST", f"{address}/api/generate", json={"length": 5}, timeout=60) as waits:
            lines = waits.iter_lines()
            assert [next(lines) for _ in range(4)] == [": waiting", ""] * 2
            first.close()
            assert [name for name, _ in events(lines)][-1] == "end"


@pytest.mark.parametrize(("total", "parts"), [(0.3, 2), (60.0, 8)])
def test_a_whole_response_has_a_time_limit_too(total: float, parts: int) -> None:
    """A client that reads each part just in time does not keep a text for ever."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for number in range(8):
            await send({"type": "http.response.body", "body": b"%d" % number, "more_body": number < 7})

    sent: list[Any] = []

    async def slow(message: Any) -> None:
        await asyncio.sleep(0.12)
        sent.append(message)

    async def never() -> Any:
        await asyncio.Event().wait()

    asyncio.run(Patience(app, 30, total)({"type": "http"}, never, slow))
    assert len(sent) == parts


def test_a_client_that_does_not_read_is_let_go() -> None:
    """When the unread response fills all buffers, the text is ended, long before its own time limit."""
    with serving(BATCHES[0], limits=Limits(max_length=10**8, patience=0.5), send_buffer=4096) as address:
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", urlsplit(address).port or 0))
        body = b'{"length": 100000000}'
        deaf.sendall(
            b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        while health(address)["active"] == 0:
            time.sleep(0.01)
        wait_until_idle(address, 20)
        deaf.close()


def test_pages_need_nothing_from_elsewhere(address: str) -> None:
    for path, file in TEXT_PAGE.items():
        answer = httpx.get(address + path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(KINDS[file.name.rpartition(".")[2]])
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"https?://|@import|url\(", answer.text)
        for asset in re.findall(r'(?:src|href)="(?!data:)([^"#]+)"|from "([^"]+)"', answer.text):
            (asset,) = filter(None, asset)
            assert not asset.startswith("/")  # a proxy may publish the page below a path
            assert httpx.get(urljoin(address + path, asset)).status_code == 200


def test_openapi_tells_bounds_and_every_refusal(address: str) -> None:
    response = httpx.get(f"{address}/openapi.json").json()
    post = response["paths"]["/api/generate"]["post"]
    assert set(post["responses"]) == {"200", "400", "401", "403", "408", "413", "415", "422", "429", "503"}
    assert set(post["responses"]["200"]["content"]) == {"text/event-stream"}
    get = response["paths"]["/api/generate"]["get"]
    assert set(get["responses"]) == set(post["responses"]) - {"408", "413", "415"}
    assert {each["name"] for each in get["parameters"]} == set(
        response["components"]["schemas"]["Generate"]["properties"]
    )
    settings = response["components"]["schemas"]["Generate"]["properties"]
    assert set(settings) == {"run", "prompt", "temperature", "top_k", "top_p", "length", "seed", "details"}
    assert settings["run"]["enum"] == ["run", "run2"]
    assert response["paths"]["/api/read"]["post"]["responses"].keys() == post["responses"].keys()
    assert set(response["components"]["schemas"]["Read"]["properties"]) == {"run", "prompt", "details"}
    assert (settings["prompt"]["maxLength"], settings["length"]["maximum"]) == (50, 10**8)
    assert all(setting["description"] for setting in settings.values())


def test_openapi_describes_the_events_of_a_stream(address: str) -> None:
    """Each event that a stream has is valid, and each described event occurs."""
    response = httpx.get(f"{address}/openapi.json").json()
    described = response["paths"]["/api/generate"]["post"]["responses"]["200"]["content"]["text/event-stream"]["schema"]
    schemas = {one["properties"]["event"]["const"]: one["properties"]["data"] for one in described["oneOf"]}
    stream = ask(address, prompt="ab", length=5)
    assert {name for name, _ in stream} == set(schemas)
    for name, data in stream:
        assert schemas[name]["contentMediaType"] == "application/json"
        content = schemas[name]["contentSchema"]
        assert set(data) == set(content["required"])
    for name, data in ask(address, prompt="ab", length=5, details=True):
        content = schemas[name]["contentSchema"]
        assert set(data) == set(content["properties"]) - {"symbols"}  # of words alone
        steps = [step for step in data.get("steps", []) if step]
        assert all(set(step) == set(content["$defs"]["Step"]["properties"]) for step in steps)
    assert schemas["end"]["contentSchema"]["properties"]["reason"]["enum"] == [
        "length",
        "time-out",
        "shutdown",
        "failed",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": 0}, "rows should be at least 1, got 0"),
        ({"queue": -1}, "queue should be at least 0, got -1"),
        ({"timeout": 0.0}, "timeout should be a finite number of seconds above 0, got 0.0"),
        ({"patience": float("nan")}, "patience should be a finite number of seconds above 0, got nan"),
    ],
)
def test_impossible_limits_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Limits(**changes)


def test_a_model_of_bytes_is_described_and_serves_characters() -> None:
    batch = make_batch("lstm", symbols=Symbols(tuple(sorted({chr(byte) for byte in "né…".encode()})), "byte"))
    with serving(batch) as address:
        (response,) = httpx.get(f"{address}/api/runs").json()["runs"]
        assert (response["unit"], response["alphabet"]) == ("byte", "")
        stream = ask(address, prompt="né", length=50, temperature=3)
    changes = [change for name, data in stream if name == "text" for change in data["changes"]]
    assert len(changes) == len(text_of(stream))
