"""Runs that are killed, cut off from power, refused and asked to end, then resumed: each must end as if nothing had happened.

    python harness.py WORK DATA (short | long)

WORK is an empty folder to work in, DATA one with MNIST's files. Trainings are those of the command line, in processes
that are forked from one that has imported everything. Equal ends are equal in every bit: the trainer's state (weights,
optimiser, random states, best), the model's file, the sample, the metrics but for what a clock measured. Prints a table;
the exit code is 1 if a run was lost or ended differently.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from disk import Disk, Platter
from torch import Tensor

from hypernetworks import cli
from hypernetworks.runs.checkpoint import load_model, load_trainer
from hypernetworks.runs.run import Run

TOY = "".join(f"{n} is {n * n}, and its half {n / 2}: so it stands.\n" for n in range(60))
SCHEDULE = ("--warmup=1", "--evaluate-every=3", "--log-every=2", "--device=cpu")
TEXT = (
    *("text", "train", "--steps=8", "--batch-size=3", "--length=7", "--reset-probability=0.3", *SCHEDULE),
    *("--num-layers=2", "--dropout=0.1", "--recurrent-dropout=0.1"),
    *("--hidden-size=8", "--embedding-size=5", "--hyper-size=4", "--hyper-embedding-size=2"),
)
IMAGES = ("vision", "train", "--preset=mnist", "--steps=14", "--batch-size=10", *SCHEDULE)
CLOCK = ("seconds", "characters_per_second", "images_per_second")
LONGEST = 300  # seconds that one trial may take


@dataclass
class Training:
    """A training: the arguments that start it, those that resume it, and its result when it is undisturbed."""

    name: str
    begin: list[str]
    resume: list[str]
    end: Any = None
    seconds: float = 0.0
    calls: int = 0
    """Of a whole run, that change its folder."""


class Trial:
    """One run of a training, in a folder of its own."""

    def __init__(self, work: Path, training: Training) -> None:
        self.training = training
        self.place = work / f"trial-{os.getpid()}-{time.monotonic_ns()}"
        self.folder = self.place / "run"
        self.place.mkdir()

    def start(self, disk: Disk | None = None) -> int:
        """Start or resume the run in a separate process on this disk; the process id."""
        there = (self.folder / "config.json").exists()
        arguments = [*(self.training.resume if there else self.training.begin), "--out", str(self.folder)]
        child = os.fork()
        if child:
            return child
        code = 1
        try:
            output = os.open(self.place / "output.txt", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
            os.dup2(output, 1)
            os.dup2(output, 2)
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
            torch.manual_seed(os.getpid())  # another process starts with other random numbers
            if disk:
                disk.install()
            code = cli.main(arguments)
            if disk:
                (self.place / "calls.txt").write_text(str(len(disk.calls)))
        except KeyboardInterrupt:
            code = cli.INTERRUPTED  # it came before the command line could take it
        except BaseException:  # noqa: BLE001 — the report is the parent's to make
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def run(self, disk: Disk | None = None) -> int:
        """Start or resume until the process ends; its exit code, negative for a signal."""
        return ended(self.start(disk))

    def platter(self) -> Platter:
        return Platter(self.folder, self.place / f"platter{time.monotonic_ns()}")

    def output(self) -> str:
        return (self.place / "output.txt").read_text(errors="replace")

    def check_end(self) -> None:
        """Go on to the end; it must be that of the run that was left alone."""
        code = self.run()
        if code:
            raise LostRunError(f"cannot be resumed, exit code {code}: {self.output()[-600:]}")
        if fingerprint(self.folder) != self.training.end:
            raise LostRunError("ended differently from the undisturbed run")

    def remove(self) -> None:
        shutil.rmtree(self.place)


class LostRunError(Exception):
    """A run that a fault destroyed or changed."""


def ended(child: int) -> int:
    """Wait for the end of a process; its exit code, negative for a signal."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except LostRunError:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise


def hangs(*_: object) -> None:
    raise LostRunError(f"not done after {LONGEST} seconds")


def fingerprint(folder: Path) -> Any:
    """All that a finished run holds, but for times, in a form that is equal where every bit is."""
    state = load_trainer(folder / "trainer.pt", [])
    del state["run"]  # sums over the metrics, which have times in them
    tensors, metadata = load_model(folder / "model.safetensors")  # the order of the metadata in the file is random
    rows = [{name: value for name, value in row.items() if name not in CLOCK} for row in Run.open(folder).metrics()]
    names = sorted(path.name for path in folder.iterdir())
    texts = [(folder / name).read_bytes() for name in ("config.json", "samples.txt") if name in names]
    return bits([state, sorted(tensors.items()), sorted(metadata.items()), rows]), texts, names


def bits(value: Any) -> Any:
    if isinstance(value, Tensor):
        return str(value.dtype), tuple(value.shape), value.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    if isinstance(value, dict):
        return [(key, bits(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [bits(item) for item in value]
    return repr(value)


def signalled(trial: Trial, draw: random.Random, number: int, times: int) -> int:
    """Send a signal at a random moment, as often as asked unless the run ends before; how many times it came in time."""
    came = 0
    for _ in range(times):
        child = trial.start()
        time.sleep(draw.uniform(0, trial.training.seconds))
        os.kill(child, number)
        code = ended(child)
        if code not in (0, -number, 128 + number):
            raise LostRunError(f"exit code {code} after signal {number}: {trial.output()[-600:]}")
        if "Traceback" in trial.output():
            raise LostRunError(f"a traceback after signal {number}: {trial.output()[-600:]}")
        came += code != 0
        if code == 0:
            break
    return came


def killed_at(trial: Trial, call: int, lost: Any = None) -> int:
    """Kill at a call; with `lost`, the power is cut there, too."""
    platter = trial.platter()
    code = trial.run(Disk(platter, "kill", call))
    if code not in (0, -signal.SIGKILL):
        raise LostRunError(f"exit code {code} before call {call}: {trial.output()[-600:]}")
    if lost and code:
        platter.cut_power(lost)
    return int(code != 0)


def refused_at(trial: Trial, call: int, fault: Any) -> int:
    """Refuse all calls from one on: the command must say so in its last line, and nothing else of it may be a traceback."""
    code = trial.run(Disk(trial.platter(), fault, call))
    output = trial.output()
    if "Traceback" in output or code not in (0, 1) or (code and "\nhypernetworks: " not in "\n" + output):
        raise LostRunError(f"exit code {code} where call {call} was refused: {output[-600:]}")
    return int(code != 0)


def killed_while_resuming(trial: Trial, call: int, lost: Any) -> int:
    """Kill two thirds into the run, then at a call of its resuming."""
    return killed_at(trial, trial.training.calls * 2 // 3) + killed_at(trial, call, lost)


def damaged(trial: Trial, draw: random.Random) -> int:
    """Kill late in the run, then change a byte of any file but config.json, which has no copy."""
    came = killed_at(trial, trial.training.calls * 5 // 6)
    path = trial.folder / draw.choice(["trainer.pt", "trainer.before.pt", "model.safetensors", "metrics.jsonl"])
    data = bytearray(path.read_bytes())
    data[draw.randrange(len(data))] ^= draw.randrange(1, 256)
    path.write_bytes(data)
    return came


Plan = list[tuple[str, Training, Callable[[Trial, random.Random], int]]]


def plan(text: Training, images: Training, is_long: bool) -> Plan:
    """What is tried: the fault's name, the training, how many times a trial met it."""
    tried: Plan = []

    def add(name: str, training: Training, count: int, fault: Callable[[Trial, random.Random], int]) -> None:
        tried.extend([(name, training, fault)] * count)

    def each(name: str, training: Training, step: int, fault: Callable[[Trial, int], int]) -> None:
        for call in range(1 + step // 2, training.calls + 1, step):
            tried.append((name, training, lambda trial, _, call=call: fault(trial, call)))

    for training, long_form, short_form in ((text, (68, 1), (1, 80)), (images, (34, 3), (2, 50))):
        count, step = long_form if is_long else short_form
        add("SIGKILL at a random moment", training, count, lambda t, d: signalled(t, d, signal.SIGKILL, 1))
        add("SIGKILL, and a byte of a file changed", training, (count + 3) // 4, damaged)
        add("SIGKILL up to four times in a run", training, count // 4, lambda t, d: signalled(t, d, signal.SIGKILL, 4))
        for number in (signal.SIGTERM, signal.SIGINT):
            fault = partial(signalled, number=number, times=1)
            add(f"{number.name} at a random moment", training, count // 4 or 1, fault)
        each("SIGKILL at each call", training, step, killed_at)
        for lost in ("names", "bytes"):
            each(f"power cut at each call, {lost} lost", training, step, partial(killed_at, lost=lost))
        each("disk full from each call on", training, 2 * step, partial(refused_at, fault="full"))
        each("permission denied from each call on", training, 3 * step, partial(refused_at, fault="denied"))
    for call in range(1, 40, 1 if is_long else 20):
        fault = partial(killed_while_resuming, call=call, lost=(None, "names", "bytes")[call % 3])
        tried.append(("two thirds in, then at each call of resuming", text, lambda t, _, fault=fault: fault(t)))
    return tried


def measure(work: Path, training: Training) -> None:
    """The run that is left alone: what it ends with, how long it takes, how many calls it makes."""
    trial = Trial(work, training)
    began = time.monotonic()
    code = trial.run()
    training.seconds = time.monotonic() - began
    if code:
        raise LostRunError(f"{training.name}: exit code {code} without any fault: {trial.output()[-2000:]}")
    training.end = fingerprint(trial.folder)
    trial.remove()
    trial = Trial(work, training)
    trial.run(Disk(trial.platter(), "kill", 0))
    if fingerprint(trial.folder) != training.end:
        raise LostRunError(f"{training.name}: two runs that were left alone differ")
    training.calls = int((trial.place / "calls.txt").read_text())
    trial.remove()


def carry_out(work: Path, tried: Plan, share: int, of: int, report: int) -> None:
    """Every `of`-th trial from number `share` on; a JSON line for each."""
    signal.signal(signal.SIGALRM, hangs)
    for index in range(share, len(tried), of):
        name, training, fault = tried[index]
        trial, draw = Trial(work, training), random.Random(index)
        row: dict[str, Any] = {"fault": name, "training": training.name}
        signal.alarm(LONGEST)
        try:
            row["met"] = fault(trial, draw)
            trial.check_end()
            trial.remove()
        except LostRunError as error:
            row["lost"] = f"{trial.place}: {error}"
        signal.alarm(0)
        os.write(report, json.dumps(row).encode() + b"\n")


def in_parallel(work: Path, tried: Plan) -> Iterator[dict[str, Any]]:
    """The rows of all trials, by two processes."""
    files = [work / f"report{share}.jsonl" for share in range(2)]
    children = []
    for share, file in enumerate(files):
        child = os.fork()
        if not child:
            try:
                carry_out(work, tried, share, len(files), os.open(file, os.O_CREAT | os.O_WRONLY))
            except BaseException:  # noqa: BLE001 — the rows that are missing tell
                traceback.print_exc()
            os._exit(0)
        children.append(child)
    for child in children:
        ended(child)
    for file in files:
        yield from map(json.loads, file.read_text().splitlines())


def main(work: Path, data: Path, is_long: bool) -> int:
    torch.set_num_threads(1)
    toy = work / "toy.txt"
    toy.write_text(TOY)
    images = ["--data-dir", str(data)]
    trainings = (
        Training("text", [*TEXT, "--corpus", str(toy)], ["text", "train", "--resume"]),
        Training("images", [*IMAGES, *images], ["vision", "train", "--resume", *images]),
    )
    for training in trainings:
        measure(work, training)
        calls = f"{training.calls} calls that change the folder"
        print(f"{training.name}: {calls}, {training.seconds:.1f} s without a fault", flush=True)
    tried = plan(*trainings, is_long)
    began = time.monotonic()
    rows = list(in_parallel(work, tried))
    runs, met, lost = (Counter[tuple[str, str]]() for _ in range(3))
    for row in rows:
        key = row["fault"], row["training"]
        runs[key] += 1
        met[key] += row.get("met", 0)
        lost[key] += "lost" in row
        if "lost" in row:
            print(f"LOST after {row['fault']}: {row['lost']}")
    print(f"\n{'fault':<46}{'training':<10}{'runs':>6}{'met':>6}{'lost':>6}{'equal':>7}")
    for key in sorted(runs):
        print(f"{key[0]:<46}{key[1]:<10}{runs[key]:>6}{met[key]:>6}{lost[key]:>6}{runs[key] - lost[key]:>7}")
    totals = f"{runs.total():>6}{met.total():>6}{lost.total():>6}{runs.total() - lost.total():>7}"
    print(f"{'all':<46}{'':<10}{totals}\n{time.monotonic() - began:.0f} s")
    missed = len(tried) - len(rows)
    if missed:
        print(f"{missed} trials broke off")
    return 1 if missed or lost.total() or not met.total() else 0


if __name__ == "__main__":
    # All that a training imports is imported before the first fork.
    for command in ("text train", "vision train"):
        import_module(cli.COMMANDS[command][0])
    import_module("torch._dynamo")  # 2 s; the first optimiser of a process imports it
    with suppress(ImportError):
        import_module("matplotlib.figure")
        import_module("matplotlib.backends.backend_svg")
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "long"))
