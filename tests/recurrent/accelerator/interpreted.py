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

import hypernetworks as hn
from hypernetworks.recurrent.accelerator.graphs import GraphPool
from hypernetworks.recurrent.accelerator.launch import launch
from hypernetworks.recurrent.accelerator.layer import lstm_layer
from hypernetworks.recurrent.sequence import TimeSteps, run_steps

STATES = ("h0", "c0", "hyper_h0", "hyper_c0")


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

    @property
    def packed(self) -> bool:
        return len(set(self.batch_sizes)) > 1

    def cell(self, dtype: torch.dtype) -> Any:
        if self.K == 0:
            return hn.LSTMCell(self.I, self.H, self.bias, layer_norm=self.norm, layer_norm_eps=1e-3, dtype=dtype)
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


def kernels(case: Case, drawn: Drawn, pool: GraphPool) -> tuple[Tensor, ...]:
    weights, settings = drawn.cell.native_parameters()
    inputs = {"x": drawn.x} | dict(zip(STATES, drawn.state, strict=False)) | weights
    sizes = case.batch_sizes if case.packed else None
    return lstm_layer(inputs, drawn.mask, sizes, case.reverse, *settings, pool=pool)


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
    pool = GraphPool(launch, no_recorder)
    drawn = draw(case)
    truth = drawn.double(case)
    ours, theirs = kernels(case, drawn, GraphPool(launch, no_recorder)), reference(case, truth)
    cotangents = [torch.randn_like(a) for a in ours]
    got = [*ours, *grads(ours, drawn, cotangents)]
    wanted = [*theirs, *grads(theirs, truth, [c.double() for c in cotangents])]
    with torch.no_grad():
        again = kernels(case, drawn, pool)
    return {"error": error(got, wanted), "same without gradients": equal(again, ours)}


def equal(a: Any, b: Any) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def no_recorder(run: Callable[[], None]) -> Callable[[], None]:
    raise AssertionError("nothing is captured when a shape comes for the first time")


def graphs() -> dict[str, Any]:
    """The captured layers' logic, with a recorder that replays by running again."""
    recorded = []

    def record(run: Callable[[], None]) -> Callable[[], None]:
        recorded.append(run)
        return run

    case = Case(2, 3)
    drawn = [draw(case, seed) for seed in range(3)]
    launched = [kernels(case, d, GraphPool(launch, record)) for d in drawn]
    cotangents = [torch.randn_like(a) for a in launched[0]]
    wanted = [grads(answer, d, cotangents) for answer, d in zip(launched, drawn, strict=True)]
    pool = GraphPool(launch, record)
    checks: dict[str, Any] = {}
    kernels(case, drawn[0], pool)
    checks["the first call is not captured"] = not recorded
    # every call before a backward holds a lease: two captured layers, each with a loop for each direction
    answers = [kernels(case, d, pool) for d in drawn[:2]]
    checks["two calls, two captured layers"] = len(recorded) == 4
    backwards = [grads(answer, d, cotangents) for answer, d in reversed(list(zip(answers, drawn, strict=False)))]
    checks["their answers"] = equal(answers[0], launched[0]) and equal(answers[1], launched[1])
    checks["their gradients"] = equal(backwards[1], wanted[0]) and equal(backwards[0], wanted[1])
    third = kernels(case, drawn[2], pool)
    checks["a lease ends with the backward pass"] = len(recorded) == 4 and equal(third, launched[2])
    first = grads(third, drawn[2], cotangents, retain=True)
    kernels(case, drawn[0], pool)
    checks["a retained graph keeps its lease"] = equal(grads(third, drawn[2], cotangents), first) and equal(
        first, wanted[2]
    )
    del third
    held = [kernels(case, drawn[0], pool) for _ in range(2)]
    del held
    kernels(case, drawn[0], pool)
    checks["a graph that is dropped ends its lease"] = len(recorded) == 4
    with torch.no_grad():
        for _ in range(3):
            kernels(case, drawn[0], pool)
    checks["without gradients, one captured loop"] = len(recorded) == 5

    def packed_away(tensor: Tensor) -> Tensor:
        return tensor.clone()

    with torch.autograd.graph.saved_tensors_hooks(packed_away, lambda tensor: tensor):
        moved = kernels(case, drawn[0], pool)
    kernels(case, drawn[1], pool)
    checks["saved tensors that hooks moved"] = equal(grads(moved, drawn[0], cotangents), wanted[0])

    def fails(run: Callable[[], None]) -> Callable[[], None]:
        raise RuntimeError("no graph")

    broken = GraphPool(launch, fails)
    kernels(case, drawn[0], broken)
    checks["a capture that fails"] = equal(kernels(case, drawn[0], broken), launched[0])
    return checks


def networks() -> dict[str, Any]:
    """Through the public networks: two layers, both directions, packed, and a cell."""
    torch.manual_seed(5)
    rnn = hn.HyperLSTM(2, 3, 2, hyper_size=2, hyper_embedding_size=2, bidirectional=True)
    packed = torch.nn.utils.rnn.pack_sequence([torch.randn(2, 2), torch.randn(1, 2)])
    answers = []
    for path in ("reference", "triton"):
        with hn.use_backend(path):
            output, state = rnn(packed)
            answers.append([output.data, *state])
    cell, x, state = hn.LSTMCell(2, 3), torch.randn(4, 2), (torch.randn(4, 3), torch.randn(4, 3))
    cells = []
    for path in ("reference", "triton"):
        with hn.use_backend(path):
            cells.append(cell(x, state)[1])
    gru = hn.HyperGRU(2, 3, hyper_size=2, hyper_embedding_size=2)
    with hn.use_backend("triton"):
        served = gru(torch.randn(2, 1, 2))[0].isfinite().all().item()
    return {
        "network": error(answers[1], [a.double() for a in answers[0]]) < 1e-5,
        "cell": error(cells[1], [a.double() for a in cells[0]]) < 1e-5,
        "a family without kernels takes the reference path": served,
    }


def main() -> None:
    group = sys.argv[1]
    chosen = (
        [group]
        if group in ("graphs", "networks")
        else [name for name in CASES if name.startswith("Hyper") == (group == "hyper")]
    )
    for name in chosen:
        start = time.perf_counter()
        made = {"graphs": graphs, "networks": networks}.get(name)
        outcome = made() if made is not None else parity(CASES[name])
        print(json.dumps({"name": name, "seconds": round(time.perf_counter() - start, 1)} | outcome), flush=True)


if __name__ == "__main__":
    main()
