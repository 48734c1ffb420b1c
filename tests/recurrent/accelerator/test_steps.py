"""The steps of the reference path in CUDA graphs, on the CPU, with a recorder that replays by running again."""

import gc
import logging
from collections.abc import Callable

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence

import hypernetworks as hn
from hypernetworks.recurrent.accelerator import dispatch, graphs, steps
from hypernetworks.recurrent.cell import RecurrentCell

from ..families import tensors
from ..native.parity import NATIVE, given, native_families, network_of, state_of, worst


class Recorder:
    """Counts what is recorded and what is replayed."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, run: Callable[[], None]) -> Callable[[], None]:
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            run()

        return replay


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """As on a device without triton: every layer is offered to the graphs."""
    recorder = Recorder()
    monkeypatch.setattr(dispatch, "wanted", lambda x: hn.recurrent.backend.backend() == "auto")
    monkeypatch.setattr(dispatch, "unavailable", lambda: "triton is not installed")
    monkeypatch.setattr(steps, "compiles", lambda: False)
    monkeypatch.setattr(steps, "pool", graphs.GraphPool(recorder))
    return recorder


def answers(network, x, state, path):
    with hn.use_backend(path):
        output, final = network(x, given(network, state))
    outputs = [output.data if isinstance(output, PackedSequence) else output, *tensors(final)]
    torch.manual_seed(3)
    return outputs, [torch.randn_like(tensor) for tensor in outputs]


def gradients(network, leaves, outputs, cotangents):
    return torch.autograd.grad(outputs, [*leaves, *network.parameters()], cotangents, retain_graph=True)


@native_families
def test_replayed_steps_give_the_numbers_of_the_reference_path(family, recorder):
    network = network_of(family, 3, 5, num_layers=2, bidirectional=True)
    for packed in (False, True):
        for call in range(3):
            x = torch.randn(4, 3, 3, dtype=torch.float64, requires_grad=True)
            state = [tensor.requires_grad_() for tensor in state_of(network, 3)]
            row = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor([4, 2, 1])) if packed else x
            ours, cotangents = answers(network, row, state, "auto")
            theirs, _ = answers(network, row, state, "reference")
            assert worst(ours, theirs) <= 1e-12
            grads = [gradients(network, [x, *state], outputs, cotangents) for outputs in (ours, theirs)]
            assert worst(*grads) <= 1e-12
            assert (recorder.recorded > 0) == (packed or call > 0)
    assert recorder.recorded == 2 * 4 * 2  # both passes of four cells, padded and packed
    assert recorder.replayed == 2 * 2 * recorder.recorded // 2


def test_two_forward_passes_before_their_backward_passes_and_changed_weights(recorder):
    network = network_of(NATIVE["gru"], 3, 5)
    xs = [torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    state = state_of(network, 2)
    for _ in range(2):
        answers(network, xs[0], state, "auto")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1)
    ours, theirs = ([answers(network, x, state, path) for x in xs] for path in ("auto", "reference"))
    for k in (1, 0):
        grads = [gradients(network, [xs[k]], *both[k]) for both in (ours, theirs)]
        assert worst(*grads) <= 1e-12
    assert recorder.replayed > 0


def test_parameters_that_functional_call_puts_in(recorder):
    network = network_of(NATIVE["gru"], 3, 5)
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    for scale in (1.0, 2.0, 3.0):
        weights = {name: (p.detach() * scale).requires_grad_() for name, p in network.named_parameters()}
        grads = []
        for path in ("auto", "reference"):
            with hn.use_backend(path):
                output = torch.func.functional_call(network, weights, (x,))[0]
            grads.append([output, *torch.autograd.grad(output.square().sum(), list(weights.values()))])
        assert worst(*grads) <= 1e-12
    assert recorder.recorded == 2


def test_without_gradients_and_with_dropout(recorder):
    network = network_of(NATIVE["gru"], 3, 5).train()
    network.recurrent_dropout = 0.5
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        for _ in range(3):
            outputs = []
            for path in ("auto", "reference"):
                torch.manual_seed(7)
                with hn.use_backend(path):
                    outputs.append(network(x)[0])
            assert worst(outputs[:1], outputs[1:]) <= 1e-12
    assert recorder.recorded == 1


def test_one_line_says_which_path_and_why(recorder, caplog):
    caplog.set_level(logging.INFO)
    dispatch._log.cache_clear()
    network = network_of(NATIVE["rnn"], 3, 5)
    for _ in range(3):
        network(torch.randn(4, 2, 3, dtype=torch.float64))
    network(torch.randn(4, 0, 3, dtype=torch.float64))
    lines = [record.message for record in caplog.records if record.name == dispatch.__name__]
    assert lines == [
        "RNNCell on cpu takes the step in one CUDA graph (triton is not installed)",
        "RNNCell on cpu takes the reference path (triton is not installed; no CUDA graph: an empty batch)",
    ]


def test_what_cannot_be_captured_takes_the_reference_path(recorder):
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    own = network_of(NATIVE["gru"], 3, 5)
    torch.nn.utils.parametrizations.weight_norm(own.cell(0), "weight_h")
    replaced = network_of(NATIVE["gru"], 3, 5)
    replaced.cell(0).advance = replaced.cell(0).advance
    for network in (own, replaced):
        for _ in range(3):
            network(x)
    network = network_of(NATIVE["gru"], 3, 5)
    cell, elsewhere = network.cell(0), torch.zeros(2, 5, device="meta", dtype=torch.float64)
    assert steps.refusal(cell, list(cell.parameters()), x[0], [elsewhere]) == "tensors of different devices"
    assert steps.refusal(cell, list(cell.parameters()), x[0], [x[0]]) is None
    for _ in range(3):
        torch.func.grad(lambda x: network(x)[0].sum())(x)
        network(x[:, :0])
    assert recorder.recorded == 0


def test_a_step_that_does_not_compile_is_captured_as_it_is(recorder, monkeypatch, caplog):
    def broken(cell):
        def step(*given):
            raise RuntimeError("no compiler")

        return step

    monkeypatch.setattr(steps, "compiles", lambda: not steps._broken)
    monkeypatch.setattr(steps, "_broken", [])
    monkeypatch.setattr(RecurrentCell, "compiled_advance", broken)
    networks = [network_of(NATIVE[name], 3, 5) for name in ("gru", "rnn")]
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    for network in networks:
        for _ in range(3):
            output = answers(network, x, state_of(network, 2), "auto")[0]
        assert worst(output, answers(network, x, state_of(network, 2), "reference")[0]) <= 1e-12
    assert recorder.recorded == 4
    assert [r.message for r in caplog.records if r.levelno == logging.WARNING] == [
        "torch.compile failed, steps are captured in CUDA graphs without it: no compiler"
    ]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("broken"), "no CUDA graphs from now on, since a capture failed: broken"),
        (torch.OutOfMemoryError("full"), "out of memory while a CUDA graph was captured: this layer runs without one"),
    ],
)
def test_a_capture_that_fails(error, said, recorder, monkeypatch, caplog):
    def fails(run):
        raise error

    monkeypatch.setattr(steps, "pool", graphs.GraphPool(fails))
    network = network_of(NATIVE["gru"], 3, 5)
    x, state = torch.randn(4, 2, 3, dtype=torch.float64), state_of(network, 2)
    for _ in range(4):
        outputs, _ = answers(network, x, state, "auto")
        assert worst(outputs, answers(network, x, state, "reference")[0]) <= 1e-12
    assert [r.message for r in caplog.records if r.levelno == logging.WARNING] == [said]


def test_what_was_captured_for_a_cell_is_dropped_with_it(recorder):
    network = network_of(NATIVE["gru"], 3, 5)
    for _ in range(2):
        network(torch.randn(4, 2, 3, dtype=torch.float64))
    assert len(steps.pool._captured) == 1
    del network
    gc.collect()
    assert len(steps.pool._captured) == 0


def test_only_some_are_kept(recorder, monkeypatch):
    monkeypatch.setattr(graphs, "MAX_CAPTURED", 2)
    network = network_of(NATIVE["gru"], 3, 5)
    with torch.no_grad():
        for time in (1, 2, 3, 3, 2, 1):
            network(torch.randn(time + 1, 2, 3, dtype=torch.float64))
    assert recorder.recorded == 3
    assert len(steps.pool._captured) == 2
