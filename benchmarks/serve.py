"""`text serve` under load, over loopback: python benchmarks/serve.py [RUN] [--seconds 60] [--users 50] [--hidden 512].

Without RUN an untrained HyperLSTM of the given size is saved as a run and served: the speed does not depend on the text. The
server runs in a separate process. Measured are

* the first character: from the request to the first event with text, median and slowest of 30, and, in Chromium, from the click
  to the first character on the page, median and slowest of 10;
* one user: characters per second of one text;
* many users: each requests a text as soon as it has received the last; every text is compared with the one that its seed
  produces alone;
* a client that disconnects: the time until the server has stopped generating its text.
"""

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import torch

from hypernetworks.runs.run import Run
from hypernetworks.text import TEXT
from hypernetworks.text.config import TextConfig
from hypernetworks.text.corpus import load_corpus
from hypernetworks.text.model import CharacterModel, CharacterModelConfig

LETTERS = "\n abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,;:!?'-&$3"


def make_run(folder: Path, hidden: int) -> Path:
    """A run of an untrained HyperLSTM over 65 symbols."""
    (folder / "letters.txt").write_text(LETTERS * 20)
    config = TextConfig(corpus=str(folder / "letters.txt"), model=CharacterModelConfig(hidden_size=hidden))
    corpus = load_corpus(config.corpus)
    torch.manual_seed(0)
    model = CharacterModel(config.model, len(corpus.alphabet)).state_dict()
    run = Run.create(folder / "run", TEXT.run_config(config, corpus))
    run.commit({"step": 0, "model": model, "best": {"step": 0, "score": 1.0, "model": model}})
    return run.folder


def ask(client: httpx.Client, **request: Any) -> tuple[str, float, float]:
    """A text, and the seconds until its first and last characters arrived."""
    began, first, parts, event = time.perf_counter(), 0.0, [], ""
    with client.stream("POST", "/api/generate", json=request) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
            elif event == "text" and line.startswith("data: "):
                first = first or time.perf_counter() - began
                parts.append(json.loads(line.removeprefix("data: "))["text"])
    return "".join(parts), first, time.perf_counter() - began


def first_character(client: httpx.Client) -> None:
    times = [1000 * ask(client, prompt="and so", length=1, seed=seed)[1] for seed in range(31)][1:]
    print(f"first character: median {statistics.median(times):.1f} ms, slowest {max(times):.1f} ms of {len(times)}")


FIRST_ON_PAGE = """() => new Promise((resolve) => {
    const box = document.querySelector(".text");
    let began;
    new MutationObserver((_, observer) => {
        if (began && box.querySelector("span:not(.prompt)")) { observer.disconnect(); resolve(performance.now() - began); }
    }).observe(box, { childList: true, subtree: true });
    const button = document.getElementById("write");
    button.addEventListener("click", () => { began = performance.now(); }, { once: true, capture: true });
    button.click();
})"""


def first_on_page(address: str) -> None:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        print("on the page: Playwright is not installed")
        return
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page()
        page.goto(address)
        page.locator("section").wait_for()
        page.get_by_label("Length").fill("20")
        times = []
        for _ in range(11):
            times.append(page.evaluate(FIRST_ON_PAGE))
            page.get_by_text("Finished").wait_for()
        browser.close()
    times = times[1:]
    print(f"on the page: median {statistics.median(times):.1f} ms, slowest {max(times):.1f} ms of {len(times)}")


def one_user(client: httpx.Client) -> None:
    rates = []
    for seed in range(5):
        text, _, seconds = ask(client, prompt="and so", length=2000, seed=seed)
        rates.append(len(text) / seconds)
    print(
        f"one user: {max(rates):,.0f} characters per second, median {statistics.median(rates):,.0f} of {len(rates)} texts"
    )


def many_users(address: str, users: int, seconds: float, length: int = 200) -> None:
    with httpx.Client(base_url=address, timeout=120) as client:
        alone = [ask(client, prompt="and so", length=length, seed=seed)[0] for seed in range(users)]
    end, lock, outcomes, made, firsts = time.perf_counter() + seconds, threading.Lock(), Counter(), 0, []

    def use(seed: int) -> None:
        nonlocal made
        with httpx.Client(base_url=address, timeout=120) as client:
            while time.perf_counter() < end:
                try:
                    text, first, _ = ask(client, prompt="and so", length=length, seed=seed)
                    outcome = "correct" if text == alone[seed] else "different"
                except httpx.HTTPStatusError as error:
                    text, first, outcome = "", 0.0, f"status {error.response.status_code}"
                    time.sleep(0.1)
                except httpx.HTTPError as error:
                    text, first, outcome = "", 0.0, type(error).__name__
                with lock:
                    outcomes[outcome] += 1
                    made += len(text)
                    firsts.append(first)

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(users)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    counts = ", ".join(f"{outcome} {count:,}" for outcome, count in outcomes.most_common())
    print(
        f"{users} users for {took:.0f} s: {sum(outcomes.values()):,} texts ({counts}); {made / took:,.0f} characters per second"
    )
    print(
        f"their first characters: median {1000 * statistics.median(firsts):.0f} ms, slowest {1000 * max(firsts):.0f} ms"
    )


def client_that_disconnects(client: httpx.Client) -> None:
    times = []
    for seed in range(5):
        with client.stream("POST", "/api/generate", json={"length": 10_000, "seed": seed}) as answer:
            pieces = answer.iter_bytes()
            next(pieces)
        gone = time.perf_counter()
        while client.get("/health").json()["active"]:
            time.sleep(0.001)
        times.append(1000 * (time.perf_counter() - gone))
    print(f"a client that disconnects: its text stops after {max(times):.0f} ms at most, of {len(times)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--hidden", type=int, default=512)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        run = given.run or make_run(Path(place), given.hidden)
        command = [sys.executable, "-m", "hypernetworks", "text", "serve", str(run), "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                printed = re.match(r"http://\S+", server.stdout.readline())
                assert printed is not None, "the server did not start"
                with httpx.Client(base_url=printed[0], timeout=120) as client:
                    first_character(client)
                    one_user(client)
                    client_that_disconnects(client)
                first_on_page(printed[0])
                if given.seconds:
                    many_users(printed[0], given.users, given.seconds)
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
