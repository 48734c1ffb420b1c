"""Check and time the Triton kernels on a CUDA device: parity first, then figures.

    PYTHONPATH=src python3 benchmarks/accelerator.py --out results

It requires torch 2.11 and triton 3.6 or newer, nothing else. It compares every kernel with the reference path in float64 on
the CPU, compares the bits of repeated runs, times torch.nn.LSTM, the reference path and the kernels with CUDA events, and
trains the character model of the preset tiny-shakespeare if --text names its file. It writes accelerator.json and
accelerator.txt. A path whose parity failed gets no figure. Checks that were skipped are listed with the reason.

On an H200 with 16 processor cores, compiling the kernels of all sizes takes about 200 s. Choose fewer with --sizes and
--arithmetic to save time. No new part begins after --seconds.
"""

import argparse
import contextlib
import dataclasses
import importlib
import json
import math
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import hypernetworks as hn
from hypernetworks.recurrent.accelerator import dispatch, graphs


class Size(NamedTuple):
    """T time, B batch, I input, H hidden, K hyper hidden, Z embedding."""

    T: int
    B: int
    I: int
    H: int
    K: int
    Z: int


SIZES = {
    "narrow": Size(512, 32, 64, 64, 32, 16),
    "small": Size(128, 32, 256, 256, 64, 16),
    "middle": Size(512, 64, 512, 512, 128, 16),
    "ptb": Size(100, 128, 128, 1000, 128, 16),
    "long": Size(1024, 16, 768, 768, 128, 16),
}
PRESET = {"preset": Size(128, 32, 64, 320, 64, 16)}
"""The preset tiny-shakespeare."""
SCANNED = ("narrow", "tiny")
"""Sizes whose time loop is within a kernel. There, loops of single steps are checked and timed, too."""
ODD = {
    "odd 1": Size(1, 1, 1, 1, 1, 1),
    "odd 7": Size(5, 3, 7, 7, 7, 3),
    "odd 33": Size(6, 17, 33, 33, 33, 5),
    "odd 130": Size(4, 33, 65, 130, 65, 16),
}
TINY = {"tiny": Size(2, 2, 3, 7, 5, 2)}
"""For trying the script's flow in Triton's interpreter. With fewer units, some layer norm divides by almost nothing."""


class Arithmetic(NamedTuple):
    """A dtype, whether float32 products may be computed in TF32, and the error allowed: ‖a − b‖ / ‖b‖ of each tensor."""

    dtype: torch.dtype
    tf32: bool
    tolerance: float


ARITHMETIC = {
    "float32": Arithmetic(torch.float32, False, 1e-5),
    "tf32": Arithmetic(torch.float32, True, 5e-3),
    "bfloat16": Arithmetic(torch.bfloat16, True, 4e-2),
    "float16": Arithmetic(torch.float16, True, 6e-3),
}

Make = Callable[..., nn.Module]
NETWORKS: dict[str, Make] = {
    "LSTM": lambda s, **k: hn.LSTM(s.I, s.H, **k),
    "layer-norm LSTM": lambda s, **k: hn.LSTM(s.I, s.H, layer_norm=True, **k),
    "GRU": lambda s, **k: hn.GRU(s.I, s.H, **k),
    "layer-norm GRU": lambda s, **k: hn.GRU(s.I, s.H, layer_norm=True, **k),
    "HyperLSTM": lambda s, **k: hn.HyperLSTM(s.I, s.H, hyper_size=s.K, hyper_embedding_size=s.Z, **k),
    "HyperLSTM without norm": lambda s, **k: hn.HyperLSTM(
        s.I, s.H, hyper_size=s.K, hyper_embedding_size=s.Z, layer_norm=False, **k
    ),
}
TIMED = ("layer-norm LSTM", "layer-norm GRU", "HyperLSTM")


@dataclass
class Report:
    """What is printed and written."""

    device: str
    lines: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    failed: set[tuple[str, str]] = field(default_factory=set)
    """(network, arithmetic) whose parity or determinism failed."""

    def say(self, line: str) -> None:
        self.lines.append(line)
        print(line, flush=True)

    def skip(self, what: str, why: str) -> None:
        self.skipped.append(f"{what}: {why}")
        self.say(f"skipped: {what}: {why}")

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "accelerator.json").write_text(json.dumps(self.data | {"skipped": self.skipped}, indent=1) + "\n")
        (folder / "accelerator.txt").write_text("\n".join(self.lines) + "\n")


@contextlib.contextmanager
def arithmetic(name: str) -> Iterator[Arithmetic]:
    """Within it float32 products are computed as `name` says, cuDNN's too."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = ARITHMETIC[name].tf32
    try:
        yield ARITHMETIC[name]
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


# parity


class Case(NamedTuple):
    """One comparison: the forms of input that a layer can meet."""

    size: Size
    reverse: bool = False
    packed: bool = False
    state: bool = True
    dropout: float = 0.0
    single: bool = False
    """Whether a small layer takes loops of single steps, too."""


def draw(make: Make, case: Case, how: Arithmetic, device: str) -> tuple[nn.Module, nn.Module, Tensor, Any]:
    """A network with random parameters of the dtype, its twin in float64 on the CPU, an input and a state."""
    torch.manual_seed(0)
    options = {"bidirectional": case.reverse, "recurrent_dropout": case.dropout}
    truth = make(case.size, dtype=torch.float64, **options)
    with torch.no_grad():
        for name, parameter in truth.named_parameters():
            scale = 0.5 if parameter.dim() == 1 else parameter.shape[-1] ** -0.5
            parameter.add_(torch.randn_like(parameter) * (0.05 if name.endswith("D") else scale))
            parameter.copy_(parameter.to(how.dtype))
    ours = make(case.size, dtype=how.dtype, device=device, **options)
    ours.load_state_dict({name: tensor.to(how.dtype) for name, tensor in truth.state_dict().items()})
    s = case.size
    x = torch.randn(s.T, s.B, s.I, dtype=torch.float64).to(how.dtype)
    sizes = ours.cells[0].state_sizes
    state = [torch.randn(len(ours.cells), s.B, size).to(how.dtype) * 0.5 for size in sizes] if case.state else None
    return ours, truth, x, state


def results(
    network: nn.Module, x: Tensor, state: Any, case: Case, cotangents: list[Tensor] | None
) -> tuple[list, list, list]:
    """Outputs with final state, gradients of everything, and the names of both."""
    x = x.detach().requires_grad_()
    state = None if state is None else [tensor.detach().requires_grad_() for tensor in state]
    carried = None if state is None else network.cells[0].named_state(state)
    given: Any = x
    if case.packed:
        lengths = torch.tensor([max(1, case.size.T - (b * case.size.T) // case.size.B) for b in range(case.size.B)])
        given = nn.utils.rnn.pack_padded_sequence(x, lengths)
    torch.manual_seed(1)
    output, final = network(given, carried)
    finals = [final] if isinstance(final, Tensor) else list(final)
    answers = [output.data if case.packed else output, *finals]
    leaves = [x, *(state or ()), *network.parameters()]
    names = ["x", *(f"state {k}" for k in range(len(state or ()))), *(name for name, _ in network.named_parameters())]
    if cotangents is None:
        generator = torch.Generator().manual_seed(2)
        cotangents = [torch.randn(a.shape, generator=generator, dtype=torch.float64) for a in answers]
    grads = torch.autograd.grad(answers, leaves, [c.to(a) for c, a in zip(cotangents, answers, strict=True)])
    return [a.detach() for a in answers], list(grads), ["output", *(f"final {k}" for k in range(len(finals))), *names]


def error(ours: Tensor, truth: Tensor) -> float:
    """‖a − b‖ / ‖b‖, where b counts as 0.1 in each element if it is smaller; infinite where there is a NaN."""
    ours = ours.detach().double().cpu()
    value = ((ours - truth).norm() / truth.norm().clamp_min(0.1 * truth.numel() ** 0.5)).item()
    return value if value == value else float("inf")


def compare(network: str, name: str, case: Case, device: str) -> dict[str, float]:
    """The error of every output and gradient of the kernels."""
    with arithmetic(name) as how:
        ours, truth, x, state = draw(NETWORKS[network], case, how, device)
        mask_source = _same_masks(case)
        with hn.use_backend("reference"), mask_source():
            wanted, wanted_grads, names = results(
                truth, x.double(), None if state is None else [t.double() for t in state], case, None
            )
        loops = single_steps(device) if case.single else contextlib.nullcontext()
        with hn.use_backend("triton"), mask_source(), loops:
            moved = None if state is None else [t.to(device) for t in state]
            got, got_grads, _ = results(ours, x.to(device), moved, case, None)
        pairs = zip([*got, *got_grads], [*wanted, *wanted_grads], strict=True)
        return {key: error(a, b) for key, (a, b) in zip(names, pairs, strict=True)}


def _same_masks(case: Case) -> Callable[[], contextlib.AbstractContextManager]:
    """Dropout masks drawn on the CPU, so that both networks get the same."""
    cell = importlib.import_module("hypernetworks.recurrent.cell").RecurrentCell

    @contextlib.contextmanager
    def patched() -> Iterator[None]:
        before = cell.dropout_mask
        generator = torch.Generator().manual_seed(3)

        def mask(self: Any, rows: int, like: Tensor) -> Tensor | None:
            if case.dropout == 0:
                return None
            kept = torch.rand(rows, self.candidate_size, generator=generator) < 1 - case.dropout
            return kept.to(like) / (1 - case.dropout)

        cell.dropout_mask = mask
        try:
            yield
        finally:
            cell.dropout_mask = before

    return patched


def cases(sizes: dict[str, Size], odd: dict[str, Size]) -> Iterator[tuple[str, Case]]:
    """Odd sizes in every form of input, and the timed sizes at few steps."""
    for name, size in odd.items():
        yield name, Case(size, state=False)
        yield f"{name}, both directions, dropout", Case(size, reverse=True, dropout=0.3)
        yield f"{name}, packed, both directions", Case(size, packed=True, reverse=True)
    for name, size in sizes.items():
        short = size._replace(T=min(size.T, 4))
        yield f"{name}, {short.T} steps", Case(short)
        if name in SCANNED:
            yield f"{name}, single steps, {short.T} steps", Case(short, single=True)


def odd_sizes(network: str, name: str, odd: dict[str, Size]) -> dict[str, Size]:
    """All odd sizes in float32, and fewer elsewhere: each is compiled for itself."""
    if len(odd) <= 1:
        return odd
    chosen = {("float32", True): list(odd), ("float32", False): ["odd 7", "odd 33"], ("bfloat16", False): ["odd 33"]}
    kept = chosen.get((name, network in TIMED), ["odd 33"] if network in TIMED and name != "tf32" else [])
    return {label: odd[label] for label in kept}


def timed_sizes(network: str, name: str, sizes: dict[str, Size]) -> dict[str, Size]:
    """The sizes at which a network is timed in an arithmetic: float16 and the GRU at few of them, to save compilation."""
    few = {"float16": ("small", "middle")}.get(name, tuple(sizes))
    few = ("narrow", "small") if network == "layer-norm GRU" else few
    return {label: size for label, size in sizes.items() if label in (*few, "tiny")}


def check_parity(
    report: Report, sizes: dict[str, Size], odd: dict[str, Size], names: list[str], deadline: float
) -> None:
    report.say(
        "\nParity with the reference in float64 on the CPU: the largest ‖a − b‖ / ‖b‖ of all outputs and gradients"
    )
    rows = []
    for network in NETWORKS:
        for name in names:
            worst, place, count, failures = 0.0, "", 0, {}
            if time.monotonic() > deadline:
                report.skip(f"parity of {network}, {name}", "no time left, so it gets no figure")
                report.failed.add((network, name))
                continue
            for title, case in cases(timed_sizes(network, name, sizes), odd_sizes(network, name, odd)):
                if title.endswith("steps") and network not in TIMED:
                    continue
                try:
                    errors = compare(network, name, case, report.device)
                except Exception as failure:  # noqa: BLE001  a failed check, whatever it is
                    errors = {f"{type(failure).__name__}: {str(failure)[-200:]}": float("inf")}
                key = max(errors, key=lambda k: errors[k])
                count += 1
                if errors[key] > ARITHMETIC[name].tolerance:
                    failures[title] = errors[key]
                if errors[key] > worst:
                    worst, place = errors[key], f"{title}: {key}"
            if count == 0:
                continue
            passed = worst <= ARITHMETIC[name].tolerance
            if not passed:
                report.failed.add((network, name))
            report.say(
                f"  {network:24} {name:9} {count:3} cases  {worst:.1e} of {ARITHMETIC[name].tolerance:.0e} "
                f"{'ok' if passed else 'FAILED'}  ({place})"
            )
            rows.append(
                {
                    "network": network,
                    "arithmetic": name,
                    "cases": count,
                    "worst": worst,
                    "at": place,
                    "passed": passed,
                    "failures": failures,
                }
            )
    report.data["parity"] = rows


def check_determinism(report: Report, sizes: dict[str, Size], names: list[str]) -> None:
    """The same bits from three runs: the first without a graph, the second captured, the third replayed."""
    report.say("\nDeterminism: three runs (launched, captured, replayed) give the same bits, outputs and all gradients")
    rows = []
    for label, size in sizes.items():
        for network in TIMED:
            for name in names:
                if name not in ("float32", "bfloat16") or label not in ("tiny", "narrow", "small", "middle"):
                    continue
                with arithmetic(name) as how, hn.use_backend("triton"):
                    case = Case(size)
                    ours, _, x, state = draw(NETWORKS[network], case, how, report.device)
                    x, state = x.to(report.device), [t.to(report.device) for t in state]
                    runs = [results(ours, x, state, case, None) for _ in range(3)]
                    same = all(
                        torch.equal(a, b)
                        for run in runs[1:]
                        for a, b in zip([*runs[0][0], *runs[0][1]], [*run[0], *run[1]], strict=True)
                    )
                if not same:
                    report.failed.add((network, name))
                report.say(f"  {label:8} {network:18} {name:9} {'same bits' if same else 'DIFFERENT'}")
                rows.append({"size": label, "network": network, "arithmetic": name, "same": same})
                forget_graphs()
    report.data["determinism"] = rows


def check_graphs(report: Report) -> None:
    """Captured layers give what launched ones give, in every order in which autograd may use them."""
    size, device = ODD["odd 33"] if report.device == "cuda" else TINY["tiny"], report.device
    torch.manual_seed(4)
    layers, calls = (2, 4) if report.device == "cuda" else (1, 2)
    ours = hn.LSTM(size.I, size.H, layers, layer_norm=True, bidirectional=True, device=device)
    parameters = list(ours.parameters())
    xs = [torch.randn(size.T, size.B, size.I, device=device) for _ in range(calls)]
    pool = graphs.pool

    def grads(output: Tensor, retain: bool = False) -> list[Tensor]:
        return list(torch.autograd.grad(output.square().sum(), parameters, retain_graph=retain))

    with arithmetic("float32"), hn.use_backend("triton"), single_steps(device):
        pool._works = False
        launched = [(output := ours(x)[0], grads(output)) for x in xs]
        pool._works = True
        outcome = {}
        captured = [(output := ours(x)[0], grads(output)) for x in xs]
        outcome["one after another"] = (captured, launched)
        outputs = [ours(x)[0] for x in xs]
        together = [grads(output) for output in reversed(outputs)][::-1]
        outcome["forwards, then backwards in the other order"] = (list(zip(outputs, together, strict=True)), launched)
        first = ours(xs[0])[0]
        with torch.no_grad():
            ours(xs[1])
        once = grads(first, retain=True)
        ours(xs[-1])
        outcome["backward twice, forwards between"] = ([(first, once), (first, grads(first))], [launched[0]] * 2)
    rows = []
    for what, (got, wanted) in outcome.items():
        same = all(
            torch.equal(a, b)
            for (x, gx), (y, gy) in zip(got, wanted, strict=True)
            for a, b in zip([x, *gx], [y, *gy], strict=True)
        )
        rows.append({"what": what, "same": same})
        report.say(f"  captured layers, {what}: {'same bits' if same else 'DIFFERENT'}")
        if not same:
            report.failed.update((network, name) for network in TIMED for name in ARITHMETIC)
    report.data["graphs"] = rows
    forget_graphs()


def forget_graphs() -> None:
    graphs.pool.clear()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def check_sanitizer(report: Report) -> None:
    """compute-sanitizer on a tiny size, where the tool is installed."""
    tool = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
    if tool is None or report.device != "cuda":
        report.skip("compute-sanitizer", "not found" if tool is None else "no CUDA device")
        return
    command = [tool, "--tool", "memcheck", "--error-exitcode", "9", sys.executable, __file__, "--one-parity"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        report.skip("compute-sanitizer", "took longer than 60 s")
        return
    summary = [line for line in done.stdout.splitlines() if "ERROR SUMMARY" in line or "parity" in line]
    report.say(
        f"\ncompute-sanitizer, memcheck, exit code {done.returncode}: {'; '.join(summary) or done.stderr[-300:]}"
    )
    report.data["sanitizer"] = {"exit_code": done.returncode, "summary": summary}


# timings


@dataclass
class Contestant:
    """Something that is timed: one call runs one forward or one training step."""

    name: str
    arithmetic: str
    forward: Callable[[], Any]
    training: Callable[[], Any]
    repeats: int
    peak: int = 0
    times: dict[str, list[float]] = field(default_factory=lambda: {"forward": [], "training": []})


def contestant(name: str, how: str, network: nn.Module, x: Tensor, backend: str, repeats: int) -> Contestant:
    grad = torch.randn(*x.shape[:2], network.hidden_size, device=x.device, dtype=x.dtype)
    parameters = list(network.parameters())

    def forward() -> None:
        with arithmetic(how), hn.use_backend(backend), torch.no_grad():
            network(x)

    def training() -> None:
        with arithmetic(how), hn.use_backend(backend):
            output, _ = network(x)
            torch.autograd.grad(output, [x, *parameters], grad)

    return Contestant(name, how, forward, training, repeats)


def _in_single_steps(run: Callable[[], Any], device: str) -> Callable[[], None]:
    def of_steps() -> None:
        with single_steps(device):
            run()

    return of_steps


def flatten(network: nn.LSTM) -> None:
    """Lay its weights out as cuDNN wants them; torch does not do it by itself in bfloat16, and copies them in every call."""
    acceptable = torch.backends.cudnn.is_acceptable
    torch.backends.cudnn.is_acceptable = lambda tensor: True
    try:
        network.flatten_parameters()
    finally:
        torch.backends.cudnn.is_acceptable = acceptable


def graphed(name: str, how: str, network: nn.Module, x: Tensor, backend: str, repeats: int) -> Contestant:
    """The step of a path, all T of it in one CUDA graph, captured here: what can be had without kernels."""
    plain = contestant(name, how, network, x, backend, repeats)
    captured = {}
    for what in ("forward", "training"):
        run = getattr(plain, what)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                run()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        captured[what] = graph.replay
    return Contestant(name, how, captured["forward"], captured["training"], repeats)


def milliseconds(run: Callable[[], Any], repeats: int, device: str) -> float:
    """The mean over `repeats` calls in a row, between two events."""
    if device != "cuda":
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        return (time.perf_counter() - start) / repeats * 1e3
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(repeats):
        run()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / repeats


def contestants(report: Report, label: str, size: Size, names: list[str], eager: bool) -> list[Contestant]:
    made = []
    cuda = report.device == "cuda"
    for name in names:
        how = ARITHMETIC[name]
        options: dict[str, Any] = {"device": report.device, "dtype": how.dtype}
        torch.manual_seed(0)
        x = torch.randn(size.T, size.B, size.I, **options).requires_grad_()
        theirs = nn.LSTM(size.I, size.H, **options)
        if cuda:
            flatten(theirs)
        made.append(contestant("nn.LSTM", name, theirs, x, "reference", 5 if cuda else 1))
        if cuda:
            try:
                made.append(graphed("nn.LSTM in a CUDA graph", name, theirs, x, "reference", 5))
            except Exception as failure:  # noqa: BLE001  whatever it is, the others are timed
                report.skip(
                    f"nn.LSTM in a CUDA graph, {name}, {label}", f"{type(failure).__name__}: {str(failure)[:200]}"
                )
        for network in TIMED:
            if label not in timed_sizes(network, name, {label: size}):
                continue
            if (network, name) in report.failed:
                report.skip(f"timing of {network}, {name}, {label}", "its parity or determinism failed")
                continue
            ours = NETWORKS[network](size, **options)
            made.append(contestant(network, name, ours, x, "triton", 5 if cuda else 1))
            if label in SCANNED:
                one = contestant(f"{network}, single steps", name, ours, x, "triton", 5 if cuda else 1)
                forward, training = (_in_single_steps(run, report.device) for run in (one.forward, one.training))
                made.append(dataclasses.replace(one, forward=forward, training=training))
            if eager and name == "float32":
                made.append(contestant(f"{network}, reference path", name, ours, x, "reference", 1))
    return made


def time_size(
    report: Report, label: str, size: Size, names: list[str], rounds: int, eager: bool, deadline: float
) -> None:
    made = contestants(report, label, size, names, eager)
    cuda = report.device == "cuda"
    for one in made:
        before = torch.cuda.memory_allocated() if cuda else 0
        for run in (one.training, one.forward):
            for _ in range(1 if "reference" in one.name else 3):
                run()
            if cuda and run is one.training:
                # with what the captured layers keep, without the memory of a graph that was captured before
                torch.cuda.reset_peak_memory_stats()
                run()
                one.peak = torch.cuda.max_memory_allocated() - before
    done = 0
    while done < rounds and (done < 2 or time.monotonic() < deadline):
        done += 1
        for one in made:
            if "reference" in one.name and done > 3:
                continue
            for what in ("forward", "training"):
                one.times[what].append(milliseconds(getattr(one, what), one.repeats, report.device))
    base = {one.arithmetic: one for one in made if one.name == "nn.LSTM"}
    report.say(
        f"\n{label} (T {size.T}, B {size.B}, I {size.I}, H {size.H}, K {size.K}, Z {size.Z}): microseconds a time step, "
        f"{done} rounds"
    )
    report.say(f"  {'':44} {'forward':>17} {'forward+backward':>17} {'x nn.LSTM':>9}  {'MiB, a':>10}")
    report.say(f"  {'':44} {'min     median':>17} {'min     median':>17} {'training':>9}  {'training step':>13}")
    rows = report.data.setdefault("timings", [])
    for one in sorted(made, key=lambda one: (names.index(one.arithmetic), made.index(one))):
        figures = {}
        for what, times in one.times.items():
            figures[what] = {"min": min(times) / size.T * 1e3, "median": statistics.median(times) / size.T * 1e3}
        ratio = min(one.times["training"]) / min(base[one.arithmetic].times["training"])
        shown = " ".join(f"{figures[w]['min']:8.2f} {figures[w]['median']:8.2f}" for w in ("forward", "training"))
        report.say(f"  {one.name + ', ' + one.arithmetic:44} {shown} {ratio:9.2f}  {one.peak / 2**20:10.0f}")
        rows.append(
            {
                "size": label,
                "name": one.name,
                "arithmetic": one.arithmetic,
                "us": figures,
                "ratio": ratio,
                "peak": one.peak,
            }
        )


def time_all(report: Report, sizes: dict[str, Size], names: list[str], arguments: argparse.Namespace) -> None:
    for label, size in sizes.items():
        if time.monotonic() > arguments.deadline:
            report.skip(f"timings of {label}", "no time left")
            continue
        time_size(report, label, size, names, arguments.rounds, label in ("small", "tiny"), arguments.deadline)
        forget_graphs()
        report.write(arguments.out)


def time_compiled(report: Report, sizes: dict[str, Size]) -> None:
    """The path that serves where there are no kernels: the compiled step, all steps in one CUDA graph."""
    if report.device != "cuda" or "small" not in sizes:
        report.skip("the compiled step in a CUDA graph", "no CUDA device, or size small was not asked for")
        return
    size = sizes["small"]
    rows = report.data.setdefault("compiled", [])
    for network in ("HyperLSTM", "HyperGRU"):
        x = torch.randn(size.T, size.B, size.I, device="cuda").requires_grad_()
        kind = {"HyperLSTM": hn.HyperLSTM, "HyperGRU": hn.HyperGRU}[network]
        ours = kind(size.I, size.H, hyper_size=size.K, hyper_embedding_size=size.Z, device="cuda")
        one = contestant(network, "float32", ours, x, "auto", 5)
        start = time.monotonic()
        with arithmetic("float32"), without_kernels():
            with hn.use_backend("reference"):
                wanted = ours(x)[0]
            for _ in range(3):
                one.training()
                one.forward()
            with hn.use_backend("auto"):
                apart = error(ours(x)[0], wanted.detach().double().cpu())
            ready = time.monotonic() - start
            if not apart <= ARITHMETIC["float32"].tolerance:
                report.skip(f"the compiled step of {network} in a CUDA graph", f"its parity failed: {apart:.1e}")
                continue
            runs = (("forward", one.forward), ("training", one.training))
            figures = {what: min(milliseconds(run, 5, "cuda") for _ in range(5)) / size.T * 1e3 for what, run in runs}
        rows.append({"network": network, "us": figures, "parity": apart, "seconds_until_ready": ready})
        report.say(
            f"\nsmall, {network}, the compiled step in a CUDA graph, float32: {figures['forward']:.2f} us a step forward, "
            f"{figures['training']:.2f} forward+backward (ready after {ready:.0f} s, parity {apart:.1e})"
        )
        forget_graphs()


def measure_memory(report: Report, sizes: dict[str, Size]) -> None:
    """The peak of a training step at T, 2T and 4T: it grows as what is saved does, in proportion to T."""
    if report.device != "cuda":
        report.skip("memory", "the CPU's allocator does not count")
        return
    size = sizes.get("small") or next(iter(sizes.values()))
    rows = report.data.setdefault("memory", [])
    for network in TIMED:
        if (network, "float32") in report.failed:
            continue
        peaks = []
        for factor in (1, 2, 4):
            s = size._replace(T=factor * size.T)
            ours = NETWORKS[network](s, device="cuda")
            x = torch.randn(s.T, s.B, s.I, device="cuda").requires_grad_()
            one = contestant(network, "float32", ours, x, "triton", 1)
            for _ in range(3):
                one.training()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            one.training()
            peaks.append(torch.cuda.max_memory_allocated() - before)
            kept = sum(t.numel() * t.element_size() for c in graphs.pool._captured.values() for t in c.tensors.values())
            rows.append({"network": network, "T": s.T, "peak": peaks[-1], "held_by_graphs": kept})
            forget_graphs()
        growth = (peaks[2] - peaks[1]) / max(1, peaks[1] - peaks[0])
        report.say(
            f"  memory of a training step, {network}, T {size.T}, {2 * size.T}, {4 * size.T}: "
            f"{', '.join(f'{peak / 2**20:.0f}' for peak in peaks)} MiB; growth {growth:.2f} (2 is proportional to T)"
        )


def profile(report: Report, sizes: dict[str, Size], names: list[str]) -> None:
    """How long each kernel takes, and how much of the time none runs."""
    if report.device != "cuda":
        report.skip("profile", "no CUDA device")
        return
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    rows = report.data.setdefault("profile", [])
    for label, size in sizes.items():
        for name in names:
            for network in TIMED:
                how = ARITHMETIC[name]
                options: dict[str, Any] = {"device": "cuda", "dtype": how.dtype}
                x = torch.randn(size.T, size.B, size.I, **options).requires_grad_()
                one = contestant(network, name, NETWORKS[network](size, **options), x, "triton", 1)
                for _ in range(3):
                    one.training()
                synchronize("cuda")
                with record(activities=[ProfilerActivity.CUDA]) as recorded:
                    one.training()
                    synchronize("cuda")
                events = [e for e in recorded.events() if e.device_type == torch.autograd.DeviceType.CUDA]
                total = sum(e.time_range.elapsed_us() for e in events)
                span = max(e.time_range.end for e in events) - min(e.time_range.start for e in events)
                kinds: dict[str, list[float]] = {}
                for event in events:
                    kinds.setdefault(event.name, []).append(event.time_range.elapsed_us())
                report.say(
                    f"\nprofile of a training step, {label}, {network}, {name}: {span / size.T:.2f} us a step, "
                    f"kernels run {total / size.T:.2f} of it"
                )
                for kind, times in sorted(kinds.items(), key=lambda item: -sum(item[1]))[:12]:
                    report.say(
                        f"  {kind[:60]:60} {len(times):5} x {statistics.median(times):7.2f} us "
                        f"= {sum(times) / size.T:6.2f} a step"
                    )
                    rows.append(
                        {"size": label, "network": network, "arithmetic": name, "kernel": kind, "count": len(times)}
                        | {"median_us": statistics.median(times), "us_a_step": sum(times) / size.T}
                    )
        forget_graphs()


# training


def train(report: Report, text: Path | None, steps: int, deadline: float) -> None:
    """The character model of the preset tiny-shakespeare: embedding, HyperLSTM, head, its schedule and dropout."""
    if text is None or not text.exists():
        report.skip("training", "the text of Tiny Shakespeare was not found (--text)")
        return
    if any(network == "HyperLSTM" and name == "float32" for network, name in report.failed):
        report.skip("training", "the parity of HyperLSTM in float32 failed")
        return
    data = text.read_text(encoding="utf-8")
    symbols = sorted(set(data))
    ids = torch.tensor([symbols.index(c) for c in data]) if len(data) < 10**4 else _ids(data, symbols)
    cut = int(0.9 * len(ids))
    device, T, B, H, E = report.device, 128, 32, 320, 64
    if device != "cuda":
        T, B, H, E = 4, 2, 5, 4
    read, held_out = ids[:cut].to(device), ids[cut:].to(device)
    torch.manual_seed(0)
    embedding = nn.Embedding(len(symbols), E, device=device)
    nn.init.normal_(embedding.weight, std=E**-0.5)
    rnn = hn.HyperLSTM(E, H, hyper_size=64 if device == "cuda" else 3, recurrent_dropout=0.1, device=device)
    head = nn.Linear(H, len(symbols), device=device)
    model = nn.ModuleList([embedding, rnn, head])
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=4e-3, fused=device == "cuda")
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda n: (n + 1) / 100 if n < 100 else 0.1 + 0.45 * (1 + math.cos(math.pi * (n - 99) / max(1, steps - 100))),
    )
    places = torch.arange(T + 1, device=device).unsqueeze(1) + torch.arange(B, device=device) * (cut // B)
    state, drop = None, 0.2
    start, done = time.monotonic(), 0
    with hn.use_backend("triton"):
        for step in range(steps):
            batch = read[(places + step * T) % cut]
            h, state = rnn(nn.functional.dropout(embedding(batch[:-1]), drop), state)
            begins = torch.rand(B, 1, device=device) < 0.01  # some streams begin again from the zero state
            state = [tensor.masked_fill(begins, 0) for tensor in state.detach()]
            logits = head(nn.functional.dropout(h, drop))
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), batch[1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            rate.step()
            done += 1
            if step == 19:
                synchronize(device)
                start, done = time.monotonic(), 0
            if time.monotonic() > deadline:
                report.skip("the rest of the training", f"no time left after {step + 1} of {steps} steps")
                break
        synchronize(device)
        seconds = time.monotonic() - start
        rnn.eval()
        nats, state = 0.0, None
        with torch.no_grad():
            limit = len(held_out) - 1 if device == "cuda" else 8
            for at in range(0, limit, 1024):
                part = held_out[at : min(at + 1024, limit) + 1].unsqueeze(1)
                h, state = rnn(embedding(part[:-1]), state)
                nats += nn.functional.cross_entropy(head(h).squeeze(1).double(), part[1:, 0], reduction="sum").item()
    figures = {
        "steps": step + 1,
        "characters_per_second": done * T * B / seconds,
        "nats": nats / limit,
        "predicted": limit,
    }
    report.data["training"] = figures
    report.say(
        f"\ntraining, HyperLSTM {H} on Tiny Shakespeare in float32, dropout 0.2, recurrent dropout 0.1: {step + 1} steps, "
        f"{figures['characters_per_second']:,.0f} characters a second, {nats / limit:.4f} nats on {limit:,} held-out characters"
    )


def _ids(data: str, symbols: list[str]) -> Tensor:
    number = {c: k for k, c in enumerate(symbols)}
    return torch.tensor([number[c] for c in data])


# the whole


def strict() -> None:
    """Make it an error where a layer that should run on the kernels takes another path."""
    refusal = dispatch.refusal

    def none_or_raise(*given: Any) -> str | None:
        reason = refusal(*given)
        if reason is not None:
            raise RuntimeError(f"the kernels did not run: {reason}")
        return None

    dispatch.refusal = none_or_raise


@contextlib.contextmanager
def single_steps(device: str) -> Iterator[None]:
    """Within it, small layers take loops of single steps."""
    operators = importlib.import_module("hypernetworks.recurrent.accelerator.operators")
    kernels = operators.TritonLayers(device, scan=False)
    before, dispatch._kernels = dispatch._kernels, lambda _: kernels
    try:
        yield
    finally:
        dispatch._kernels = before


@contextlib.contextmanager
def without_kernels() -> Iterator[None]:
    """Within it, layers take the path that serves where there are no kernels."""
    refusal, dispatch.refusal = dispatch.refusal, lambda *_: "a comparison without them"
    try:
        yield
    finally:
        dispatch.refusal = refusal


def compile_one(job: tuple[str, str, str]) -> str:
    """Run a network once at two steps, so that its kernels are in Triton's cache on disk; what went wrong, or nothing."""
    network, label, name = job
    size = (SIZES | ODD | PRESET)[label]
    try:
        strict()
        with arithmetic(name) as how, hn.use_backend("triton"):
            for dropout in (0.1,) if label in PRESET else (0.0, 0.1) if label in ODD else (0.0,):
                case = Case(size._replace(T=2), dropout=dropout)
                ours, _, x, state = draw(NETWORKS[network], case, how, "cuda")
                results(ours, x.to("cuda"), [t.to("cuda") for t in state], case, None)
                if label in SCANNED:
                    with single_steps("cuda"):
                        results(ours, x.to("cuda"), [t.to("cuda") for t in state], case, None)
            with torch.no_grad():
                ours(x.to("cuda"))
        synchronize("cuda")
    except Exception as trouble:  # noqa: BLE001  it comes again, and is reported, when the network is checked
        return f"{job}: {type(trouble).__name__}: {str(trouble)[-600:]}"
    return ""


def compile_all(report: Report, sizes: dict[str, Size], names: list[str], seconds: float) -> None:
    """Compile what is needed in processes side by side: Triton keeps what it compiled on disk."""
    if report.device != "cuda":
        return
    start = time.monotonic()
    order = sorted(names, key=list(ARITHMETIC).index)
    order = [name for name in order if name != "tf32"] + [name for name in order if name == "tf32"]
    jobs = [("HyperLSTM", "preset", "float32")] if "float32" in names else []
    for name in order:  # tf32 last: it shares most of its kernels with float32
        jobs += [(network, label, name) for network in reversed(TIMED) for label in timed_sizes(network, name, sizes)]
        jobs += [(network, label, name) for network in NETWORKS for label in odd_sizes(network, name, ODD)]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "hypernetworks.recurrent.accelerator.operators"])
    done = 0
    with context.Pool(min(len(jobs), os.cpu_count() or 2)) as workers:
        outcomes = workers.imap_unordered(compile_one, jobs)
        try:
            while done < len(jobs):
                trouble = outcomes.next(timeout=max(1, start + seconds - time.monotonic()))
                done += 1
                if trouble:
                    report.say(trouble)
        except multiprocessing.TimeoutError:
            report.say(f"the rest is compiled when it is needed: {seconds:.0f} s are over")
    report.say(f"compiled the kernels of {done} of {len(jobs)} networks in {time.monotonic() - start:.0f} s")


def describe(report: Report) -> None:
    triton = importlib.import_module("triton")
    data = {"torch": torch.__version__, "triton": triton.__version__, "python": platform.python_version()}
    data["device"] = torch.cuda.get_device_name() if report.device == "cuda" else "Triton's interpreter on the CPU"
    if report.device == "cuda":
        data |= {
            "capability": "{}.{}".format(*torch.cuda.get_device_capability()),
            "cudnn": torch.backends.cudnn.version(),
        }
    report.data["machine"] = data
    report.say(", ".join(f"{key} {value}" for key, value in data.items()))
    report.say(
        "float32: all products exact to float32, cuDNN's too. tf32: products in TF32, cuDNN's too, which is torch's default "
        "for nn.LSTM. Forward: no gradients. Forward+backward: gradients of the input and all parameters."
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("accelerator-results"), help="folder of the results")
    parser.add_argument(
        "--parts",
        default="parity,determinism,sanitizer,timings,compiled,memory,training,profile",
        help="what to do, in this order",
    )
    parser.add_argument("--sizes", default=",".join(SIZES), help="sizes to time")
    parser.add_argument("--arithmetic", default=",".join(ARITHMETIC), help="dtypes and precisions")
    parser.add_argument("--text", type=Path, help="the file of Tiny Shakespeare")
    parser.add_argument("--steps", type=int, default=2400, help="training steps")
    parser.add_argument("--rounds", type=int, default=10, help="rounds of timing")
    parser.add_argument("--seconds", type=float, default=450, help="no new part begins after this time")
    parser.add_argument("--interpret", action="store_true", help="try the script's flow on the CPU, at a tiny size")
    parser.add_argument("--no-compile", action="store_true", help="do not compile in processes side by side first")
    parser.add_argument("--one-parity", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.deadline = time.monotonic() + arguments.seconds
    return arguments


def main() -> int:
    arguments = parse()
    device = "cpu" if arguments.interpret else "cuda"
    if arguments.interpret and os.environ.get("TRITON_INTERPRET") != "1":
        # it is read when triton is imported, which torch may have done already
        return subprocess.call([sys.executable, *sys.argv], env=os.environ | {"TRITON_INTERPRET": "1"})
    if device == "cuda" and not torch.cuda.is_available():
        print("there is no CUDA device: --interpret tries the flow of this script on the CPU")
        return 2
    if arguments.interpret:
        dispatch.interpret()
    strict()
    report = Report(device)
    if arguments.one_parity:
        check_parity(report, {}, {"odd 7": ODD["odd 7"]}, ["float32"], arguments.deadline)
        return len(report.failed)
    sizes = TINY if arguments.interpret else {name: SIZES[name] for name in arguments.sizes.split(",")}
    names = ["float32"] if arguments.interpret else arguments.arithmetic.split(",")
    describe(report)
    parts = arguments.parts.split(",")
    clock = time.monotonic()
    if not arguments.no_compile:
        compile_all(report, sizes, names, arguments.seconds / 2)
    todo: dict[str, Callable[[], None]] = {
        "parity": lambda: check_parity(report, sizes, TINY if arguments.interpret else ODD, names, arguments.deadline),
        "determinism": lambda: (check_determinism(report, sizes, names), check_graphs(report)),
        "sanitizer": lambda: check_sanitizer(report),
        "timings": lambda: time_all(report, sizes, names, arguments),
        "compiled": lambda: time_compiled(report, sizes),
        "memory": lambda: measure_memory(report, sizes),
        "training": lambda: train(report, arguments.text, arguments.steps, arguments.deadline),
        "profile": lambda: profile(report, sizes, [name for name in names if name in ("float32", "bfloat16")]),
    }
    for part, run in todo.items():
        if part not in parts:
            report.skip(part, "not asked for")
        elif time.monotonic() > arguments.deadline:
            report.skip(part, "no time left")
        else:
            run()
            report.say(f"[{part}: {time.monotonic() - clock:.0f} s since the start]")
        report.write(arguments.out)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
