"""Which layers the Triton kernels serve, their operators on CUDA tensors that have no values, and kernels that fail."""

import logging
import subprocess
from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import hypernetworks as hn
from hypernetworks.recurrent.accelerator import dispatch


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a device of compute capability 9.0 where every kernel runs."""
    monkeypatch.setattr(dispatch, "unavailable", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))
    monkeypatch.setattr(dispatch, "importlib", SimpleNamespace(import_module=lambda *_: Trial()))
    dispatch._tried.cache_clear()


class Trial:
    """Stands in for trial.py."""

    def run(self, *kind) -> None: ...


def inputs_of(cell, x, dtype=torch.float32):
    weights, _ = cell.native_parameters()
    state = cell.zero_state(x, x.shape[0])
    return {"x": x} | dict(zip(cell.native.states, state, strict=False)) | weights


def refusal(cell, x=None, **others):
    x = torch.randn(2, 3) if x is None else x
    return dispatch.refusal(cell.native.name, inputs_of(cell, x) | others, None)


SERVED = [
    lambda: hn.LSTMCell(3, 5),
    lambda: hn.LSTMCell(3, 5, layer_norm=True),
    lambda: hn.GRUCell(3, 5),
    lambda: hn.GRUCell(3, 5, layer_norm=True),
    lambda: hn.HyperLSTMCell(3, 5),
]


@pytest.mark.parametrize("make", SERVED)
def test_served(make, device):
    assert refusal(make()) is None


def test_not_served(device, monkeypatch):
    def changed(cell):
        cell.hyper.lstm.norm = cell.hyper.lstm.cell_norm = None
        return cell

    assert refusal(hn.RNNCell(3, 5)) == "there are no Triton kernels of rnn"
    assert refusal(hn.HyperGRUCell(3, 5)) == "there are no Triton kernels of a GRU with a hyper cell"
    assert refusal(hn.GRUCell(3, 5), torch.randn(0, 3)) == "an empty batch"
    assert refusal(changed(hn.HyperLSTMCell(3, 5))) == "a layer norm in one of two cells"
    assert refusal(hn.GRUCell(3, 2049)) == "hidden size 2049, hyper size 0, embedding size 0"
    assert refusal(hn.HyperLSTMCell(3, 5, hyper_size=257)) == "hidden size 5, hyper size 257, embedding size 16"
    double = hn.GRUCell(3, 5, dtype=torch.float64)
    assert refusal(double, torch.randn(2, 3).double()) == "dtype torch.float64"
    mixed = "tensors of different devices or dtypes"
    assert refusal(hn.GRUCell(3, 5), h0=torch.zeros(2, 5, device="meta")) == mixed
    assert refusal(hn.GRUCell(3, 5), h0=torch.zeros(2, 5, dtype=torch.float64)) == mixed
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (7, 5))
    assert refusal(hn.GRUCell(3, 6)) == "compute capability 7.5, below 8.0"


def test_no_kernels_on_this_machine(monkeypatch):
    def unavailable():
        dispatch._unavailable.cache_clear()
        return dispatch.unavailable()

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert unavailable() == "there is no CUDA device"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(dispatch.importlib.util, "find_spec", lambda name: None)
    assert unavailable() == "triton is not installed"
    monkeypatch.setattr(dispatch.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(dispatch, "version", lambda name: "3.5.1")
    assert unavailable() == "triton 3.5.1 is older than 3.6"
    assert refusal(hn.GRUCell(3, 5)) == "triton 3.5.1 is older than 3.6"
    monkeypatch.setattr(dispatch, "version", lambda name: "3.10.0+git123")
    assert unavailable() is None
    dispatch._unavailable.cache_clear()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("PTXAS error"),
        subprocess.CalledProcessError(1, "gcc"),
        FileNotFoundError("no gcc"),
        ImportError("gdc_wait"),
    ],
)
def test_kernels_that_fail_are_tried_once(error, device, monkeypatch, caplog):
    tried = []

    def fails(self, *kind):
        tried.append(kind)
        raise error

    monkeypatch.setattr(Trial, "run", fails)
    for _ in range(3):
        assert refusal(hn.GRUCell(3, 5)) == "its Triton kernels failed"
    assert len(tried) == 1
    (line,) = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert line == f"the Triton kernels of gru failed on cpu, another path takes over: {error}"
    assert refusal(hn.GRUCell(3, 6)) == "its Triton kernels failed"  # other sizes are other kernels
    assert len(tried) == 2


def test_running_out_of_memory_in_a_trial_is_the_users_error(device, monkeypatch):
    def full(self, *kind):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(Trial, "run", full)
    with pytest.raises(torch.OutOfMemoryError, match="full"):
        refusal(hn.GRUCell(3, 5))


NETWORKS = {
    "lstm": lambda **k: hn.LSTM(3, 5, layer_norm=True, **k),
    "gru": lambda **k: hn.GRU(3, 5, bidirectional=True, **k),
    "hyper-lstm": lambda **k: hn.HyperLSTM(3, 5, hyper_size=4, hyper_embedding_size=2, **k),
}
networks = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS.keys())


@pytest.mark.parametrize("operator", dispatch.SERVED, ids=lambda operator: operator.name)
def test_the_kernels_are_under_the_key_cuda(operator):
    for name in (operator.name, f"{operator.name}_backward"):
        overload = getattr(torch.ops.hypernetworks, name).default
        assert overload.has_kernel_for_dispatch_key(torch._C.DispatchKey.CUDA)


def on_fake_device(make, mode, dtype):
    network = make(device="meta", dtype=dtype)
    with mode:
        return network.to_empty(device="cuda"), torch.empty(6, 2, 3, device="cuda", dtype=dtype)


@networks
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_shapes_and_dtypes_on_a_device_without_values(make, dtype, device):
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    network, x = on_fake_device(make, mode, dtype)
    # without gradients: torch's autograd asks the device for a stream, and a torch without CUDA ends the process then
    with mode, hn.use_backend("auto"), torch.no_grad():
        output, state = network(x)
        assert (output.device.type, output.dtype) == ("cuda", dtype)
        assert output.shape == (6, 2, 5 * network.directions)
        assert all(tensor.dtype == dtype for tensor in (state if isinstance(state, tuple) else [state]))
        op, inputs = network.cell(0).native, inputs_of(network.cell(0), torch.empty(2, 3, device="cuda", dtype=dtype))
        given = [*(inputs.get(name) for name in op.inputs), None, None, False, 1e-5]
        results = dict(zip((*op.answer, *op.saved), op._operator(*given, True), strict=True))
        for name, tensor in results.items():
            half = name in op.answer or name in ("saved_pre", "saved_wh", "saved_hyper_h")
            assert tensor.dtype == (dtype if half else torch.float32), name
        backward = getattr(torch.ops.hypernetworks, f"{op.name}_backward")
        grads = backward(*[results[name] for name in op.answer], *given, *results.values(), True, True)
    for grad, tensor in zip(grads, given, strict=False):
        assert tensor is None or (grad.shape == tensor.shape and grad.dtype == dtype)


@networks
def test_torch_export_on_a_device_without_values(make, device):
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    network, x = on_fake_device(make, mode, torch.float32)
    with mode, hn.use_backend("auto"), torch.no_grad():
        time = torch.export.Dim("time", min=2, max=4096)
        program = torch.export.export(network.eval(), (x,), dynamic_shapes=({0: time},), strict=False)
    targets = [str(node.target) for node in program.graph.nodes]
    assert targets.count(f"hypernetworks.{network.cell(0).native.name}.default") == network.directions
