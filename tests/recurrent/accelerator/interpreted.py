"""Runs in a process of its own with TRITON_INTERPRET=1, which triton reads when it is imported. Prints one JSON line per check.

Each check compares the kernels in float32 with the reference path in float64: outputs, final state, and every gradient.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.library import opcheck

import hypernetworks as hn
from hypernetworks.recurrent.accelerator import dispatch
from hypernetworks.recurrent.accelerator.graphs import GraphPool
from hypernetworks.recurrent.accelerator.operators import TritonLayers
from hypernetworks.recurrent.sequence import TimeSteps, run_steps


class Case(NamedTuple):
    """A cell, its sizes, and the form of its input."""

    I: int
    H: int
    K: int = 0
    Z: int = 0
    batch_sizes: tuple[int, ...] = (2, 2)
    norm: bool = True
    bias: bool = True
    reverse: bool = False
    dropout: bool = False
    gru: bool = False

    @property
    def packed(self) -> bool:
        return len(set(self.batch_sizes)) > 1

    def cell(self, dtype: torch.dtype) -> Any:
        if self.K == 0:
            kind = hn.GRUCell if self.gru else hn.LSTMCell
            return kind(self.I, self.H, self.bias, layer_norm=self.norm, layer_norm_eps=1e-3, dtype=dtype)
        sizes = {"hyper_size": self.K, "hyper_embedding_size": self.Z}
        return hn.HyperLSTMCell(self.I, self.H, **sizes, layer_norm=self.norm, layer_norm_eps=1e-3, dtype=dtype)


CASES = {
    "LSTM, one step of one row": Case(3, 5, batch_sizes=(1,), norm=False),
    "LSTM without bias, packed, reverse, dropout": Case(
        4, 6, batch_sizes=(3, 2, 1), norm=False, bias=False, reverse=True, dropout=True
    ),
    "layer-norm LSTM, size 1": Case(1, 1, batch_sizes=(1, 1)),
    "layer-norm LSTM, size 7, packed": Case(7, 7, batch_sizes=(3, 2, 1)),
    "layer-norm LSTM, size 33, dropout": Case(5, 33, batch_sizes=(2, 2), dropout=True),
    "layer-norm LSTM, size 65, reverse": Case(65, 65, batch_sizes=(1, 1), reverse=True),
    "GRU, one step of one row": Case(3, 5, batch_sizes=(1,), norm=False, gru=True),
    "GRU without bias, packed, reverse, dropout": Case(
        4, 6, batch_sizes=(3, 2, 1), norm=False, bias=False, reverse=True, dropout=True, gru=True
    ),
    "GRU, 17 rows": Case(3, 4, batch_sizes=(17, 17), norm=False, gru=True),
    "layer-norm GRU, size 1": Case(1, 1, batch_sizes=(1, 1), gru=True),
    "layer-norm GRU, size 7, packed, reverse": Case(7, 7, batch_sizes=(3, 2, 1), reverse=True, gru=True),
    "layer-norm GRU, size 33, packed, dropout": Case(5, 33, batch_sizes=(2, 1, 1), dropout=True, gru=True),
    "layer-norm GRU, size 65, reverse": Case(65, 65, batch_sizes=(1, 1), reverse=True, gru=True),
    "HyperLSTM, size 1": Case(1, 1, 1, 1, batch_sizes=(1, 1)),
    "HyperLSTM, size 7, packed, reverse, dropout": Case(4, 7, 7, 3, batch_sizes=(3, 2, 1), reverse=True, dropout=True),
    "HyperLSTM, size 33, packed": Case(3, 33, 5, 2, batch_sizes=(2, 1)),
    "HyperLSTM, size 65": Case(3, 65, 17, 4, batch_sizes=(1, 1)),
    "HyperLSTM without norm, 17 rows": Case(3, 4, 3, 2, batch_sizes=(17,), norm=False),
}


class Drawn(NamedTuple):
    """A cell, its input, its state and a dropout mask."""

    cell: Any
    x: Tensor
    state: list[Tensor]
    mask: Tensor | None

    def leaves(self) -> list[Tensor]:
        return [self.x, *self.state, *self.cell.parameters()]

    def double(self, case: Case) -> "Drawn":
        cell = case.cell(torch.float64)
        cell.load_state_dict(self.cell.state_dict())
        x, *state = (t.detach().double().requires_grad_() for t in (self.x, *self.state))
        return Drawn(cell, x, state, None if self.mask is None else self.mask.double())


def draw(case: Case, seed: int = 0) -> Drawn:
    torch.manual_seed(seed)
    cell = case.cell(torch.float32)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.normal_(std=0.4)
    rows = sum(case.batch_sizes)
    x = torch.randn(rows, case.I, requires_grad=True)
    state = [torch.randn(case.batch_sizes[0], size, requires_grad=True) for size in cell.state_sizes]
    mask = torch.bernoulli(torch.full((rows, case.H), 0.7)) / 0.7 if case.dropout else None
    return Drawn(cell, x, state, mask)


def arguments(case: Case, drawn: Drawn) -> tuple[Any, ...]:
    """The arguments of the operator, after its inputs by name."""
    weights, settings = drawn.cell.native_parameters()
    inputs = {"x": drawn.x} | dict(zip(drawn.cell.native.states, drawn.state, strict=False)) | weights
    return inputs, drawn.mask, case.batch_sizes if case.packed else None, case.reverse, *settings


def kernels(case: Case, drawn: Drawn, pool: GraphPool, scan: bool = False) -> tuple[Tensor, ...]:
    """Through the operator, where these kernels are under the key CPU. With `scan`, the time loop is within a kernel."""
    op = drawn.cell.native
    op.implement("CPU", TritonLayers("cpu", pool, scan=scan), override=True)
    return op.dispatched(*arguments(case, drawn))[: 1 + len(drawn.state)]


def reference(case: Case, drawn: Drawn) -> list[Tensor]:
    sizes = list(case.batch_sizes) if case.packed else None
    steps = TimeSteps(len(case.batch_sizes), case.batch_sizes[0], sizes, case.reverse)
    with hn.use_backend("reference"):
        output, state = run_steps(drawn.cell, drawn.x, steps, drawn.state, drawn.mask)
    return [output, *state]


def grads(answer: Any, drawn: Drawn, cotangents: list[Tensor], retain: bool = False) -> tuple[Tensor, ...]:
    return torch.autograd.grad(list(answer), drawn.leaves(), cotangents, retain_graph=retain)


def error(ours: Any, theirs: Any) -> float:
    """max|a − b| / max(1, max|b|), over all tensors."""
    assert len(ours) == len(theirs)
    return max(
        ((a.double() - b).abs().max() / b.abs().max().clamp_min(1)).item() for a, b in zip(ours, theirs, strict=True)
    )


def parity(case: Case) -> dict[str, Any]:
    drawn = draw(case)
    truth = drawn.double(case)
    theirs = reference(case, truth)
    cotangents = [torch.randn_like(a.float()) for a in theirs]
    wanted = [*theirs, *grads(theirs, truth, [c.double() for c in cotangents])]
    found: dict[str, Any] = {}
    for loop, scan in {"steps": False, "scan": True}.items():
        ours = kernels(case, drawn, GraphPool(no_recorder), scan)
        found[loop] = error([*ours, *grads(ours, drawn, cotangents)], wanted)
        with torch.no_grad():
            found[f"{loop}, same without gradients"] = equal(kernels(case, drawn, GraphPool(no_recorder), scan), ours)
    return found


def equal(a: Any, b: Any) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def no_recorder(run: Callable[[], None]) -> Callable[[], None]:
    raise AssertionError("nothing is captured when a shape comes for the first time")


def graphs() -> dict[str, Any]:
    """The logic of captured loops, with a recorder that replays by running again. The LSTM is a part of the HyperLSTM."""
    recorded = []

    def record(run: Callable[[], None]) -> Callable[[], None]:
        recorded.append(run)
        return run

    checks: dict[str, Any] = {}
    for name, case in {"GRU": Case(2, 3, gru=True), "HyperLSTM": Case(1, 1, 1, 1, (1,))}.items():
        recorded.clear()
        drawn = [draw(case, seed) for seed in range(2)]
        launched = [kernels(case, d, GraphPool(no_recorder)) for d in drawn]
        cotangents = [torch.randn_like(a) for a in launched[0]]
        wanted = [grads(answer, d, cotangents) for answer, d in zip(launched, drawn, strict=True)]
        pool = GraphPool(record)
        kernels(case, drawn[0], pool)
        checks[f"{name}: the first call is not captured"] = not recorded
        # two forward passes before their backward passes, in the other order: one captured loop for each direction
        answers = [kernels(case, d, pool) for d in drawn]
        checks[f"{name}: one captured loop for each direction"] = len(recorded) == 2
        backwards = [
            grads(answer, d, cotangents, True) for answer, d in reversed(list(zip(answers, drawn, strict=False)))
        ]
        checks[f"{name}: answers"] = equal(answers[0], launched[0]) and equal(answers[1], launched[1])
        checks[f"{name}: gradients"] = equal(backwards[1], wanted[0]) and equal(backwards[0], wanted[1])
        kernels(case, drawn[1], pool)
        checks[f"{name}: a second backward pass"] = equal(grads(answers[0], drawn[0], cotangents), wanted[0])
        with torch.no_grad():
            without = [kernels(case, drawn[0], pool) for _ in range(2)]
        checks[f"{name}: without gradients"] = len(recorded) == 3 and all(equal(a, launched[0]) for a in without)

    def fails(run: Callable[[], None]) -> Callable[[], None]:
        raise RuntimeError("no graph")

    def too_large(run: Callable[[], None]) -> Callable[[], None]:
        raise torch.OutOfMemoryError("no memory")

    for what, recorder in {"a capture that fails": fails, "out of memory during a capture": too_large}.items():
        broken = GraphPool(recorder)
        answers = [kernels(case, drawn[0], broken) for _ in range(3)]
        checks[what] = all(equal(answer, launched[0]) for answer in answers)
        checks[f"gradients after {what}"] = equal(grads(answers[2], drawn[0], cotangents), wanted[0])
    return checks


def operators() -> dict[str, Any]:
    """torch's own checks of an operator: schema, fake kernel, autograd, tracing."""
    dispatch.interpret()
    found = {}
    for name, case in {"LSTM": Case(2, 3), "GRU": Case(2, 3, gru=True), "HyperLSTM": Case(2, 3, 2, 2, (1, 1))}.items():
        op, drawn = draw(case).cell.native, draw(case)
        inputs, mask, *rest = arguments(case, drawn)
        given = [*(inputs.get(n) for n in op.inputs), mask, *rest]
        outcome = opcheck(getattr(torch.ops.hypernetworks, op.name).default, (*given, True))
        found[name] = set(outcome.values()) == {"SUCCESS"}
        with hn.use_backend("triton"):
            cell = drawn.cell
            compiled = torch.compile(cell, backend="aot_eager", fullgraph=True)
            x = torch.randn(1, case.I)
            found[f"{name}, torch.compile"] = torch.equal(compiled(x)[0], cell(x)[0])
    wrong = [t.double() if k == 1 else t for k, t in enumerate(given)]
    try:
        torch.ops.hypernetworks.lstm(*wrong, True)
    except TypeError as refusal:
        found["a tensor of another dtype"] = "should be torch.float32 on the CPU" in str(refusal)
    return found


def networks() -> dict[str, Any]:
    """Through the public networks: two layers, both directions, packed, and a cell."""
    dispatch.interpret()
    torch.manual_seed(5)
    hyper = hn.HyperLSTM(2, 3, 2, hyper_size=2, hyper_embedding_size=2, bidirectional=True)
    gru = hn.GRU(2, 3, 2, bidirectional=True, layer_norm=True)
    packed = torch.nn.utils.rnn.pack_sequence([torch.randn(2, 2), torch.randn(1, 2)])
    cell, x, state = hn.LSTMCell(2, 3), torch.randn(4, 2), (torch.randn(4, 3), torch.randn(4, 3))
    answers: dict[str, list] = {}
    for path in ("reference", "triton"):
        with hn.use_backend(path):
            for name, rnn in (("HyperLSTM", hyper), ("GRU", gru)):
                output, final = rnn(packed)
                answers.setdefault(name, []).append([output.data, *final])
            answers.setdefault("cell", []).append(cell(x, state)[1])
    unserved = hn.HyperGRU(2, 3, hyper_size=2, hyper_embedding_size=2)
    with hn.use_backend("triton"):
        served = unserved(torch.randn(2, 1, 2))[0].isfinite().all().item()
    same = {name: error(ours, [a.double() for a in theirs]) < 1e-5 for name, (theirs, ours) in answers.items()}
    return same | {"a family without kernels takes the reference path": served}


def main() -> None:
    group = sys.argv[1]
    checks = {"graphs": graphs, "operators": operators, "networks": networks}
    of_group = {
        "lstm": lambda n: "LSTM" in n and "Hyper" not in n,
        "gru": lambda n: "GRU" in n,
        "hyper": lambda n: "Hyper" in n,
    }
    chosen = [group] if group in checks else [name for name in CASES if of_group[group](name)]
    for name in chosen:
        start = time.perf_counter()
        made = checks.get(name)
        outcome = made() if made is not None else parity(CASES[name])
        print(json.dumps({"name": name, "seconds": round(time.perf_counter() - start, 1)} | outcome), flush=True)


if __name__ == "__main__":
    main()
