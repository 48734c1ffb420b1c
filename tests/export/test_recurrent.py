"""Exported networks and cells with open sizes: torch.export on every path, and ONNX against onnxruntime, from T = 1 on."""

import io

import numpy as np
import pytest
import torch
from torch import nn
from torch.export import Dim

import hypernetworks as hn

from ..recurrent.families import FAMILIES, all_families, close, tensors

SIZES = [(1, 3), (5, 3), (17, 3), (5, 1), (2, 8)]
ONNX = 1e-5


class Flat(nn.Module):
    """A network or cell with the state's tensors as arguments and results of their own."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.cell = inner.cell(0) if hasattr(inner, "cell") else inner

    def forward(self, x, *state):
        output, new = self.inner(x, self.cell.named_state(state))
        return output, *self.cell.state_tensors(new)


def open_sizes(*, cell):
    time, batch = Dim("time", min=1, max=4096), Dim("batch", min=1, max=512)
    return ({0: batch} if cell else {0: time, 1: batch}), ({0: batch} if cell else {1: batch})


def program_of(family, backend, *, cell=False):
    torch.manual_seed(0)
    network = (family.cell() if cell else family.network(num_layers=2)).eval()
    state = tensors(family.state(3)) if cell else tensors(family.state(2, 3))
    x = torch.randn(3, 3, dtype=torch.float64) if cell else torch.randn(7, 3, 3, dtype=torch.float64)
    of_x, of_state = open_sizes(cell=cell)
    shapes = (of_x, tuple(of_state for _ in state))
    with hn.use_backend(backend), torch.no_grad():
        return network, torch.export.export(Flat(network), (x, *state), dynamic_shapes=shapes)


@pytest.mark.parametrize("backend", ["auto", "reference"])
@all_families
def test_any_number_of_steps_and_sequences(family, backend):
    network, program = program_of(family, backend)
    run = program.module()
    for time, batch in SIZES:
        x, state = torch.randn(time, batch, 3, dtype=torch.float64), tensors(family.state(2, batch))
        with torch.no_grad(), hn.use_backend("reference"):
            close(run(x, *state), Flat(network)(x, *state))
    ours = [node for node in program.graph.nodes if "hypernetworks" in str(node.target)]
    assert not (ours and backend == "reference")
    assert len(list(program.graph.nodes)) < 700, "the loop is not unrolled"


@all_families
def test_cells_of_any_number_of_rows(family):
    cell, program = program_of(family, "auto", cell=True)
    run = program.module()
    for batch in (1, 3, 8):
        x, state = torch.randn(batch, 3, dtype=torch.float64), tensors(family.state(batch))
        with torch.no_grad():
            close(run(x, *state), Flat(cell)(x, *state))


def test_both_directions_and_a_file():
    torch.manual_seed(0)
    network = hn.HyperLSTM(3, 5, 2, bidirectional=True, batch_first=True, hyper_size=4, hyper_embedding_size=2).eval()
    network.requires_grad_(False)
    time, batch = Dim("time", min=1, max=99), Dim("batch", min=1, max=99)
    with hn.use_backend("reference"), torch.no_grad():
        program = torch.export.export(network, (torch.randn(3, 7, 3),), dynamic_shapes=({0: batch, 1: time},))
    file = io.BytesIO()
    torch.export.save(program, file)
    run = torch.export.load(io.BytesIO(file.getvalue())).module()
    for steps, rows in SIZES:
        x = torch.randn(rows, steps, 3)
        output, state = run(x)
        expected, expected_state = network(x)
        close((output, *state), (expected, *expected_state), tol=1e-5)


# hyper_rnn_full makes whole matrices, and the others cover the four kinds of steps, with norms and without
ONNX_FAMILIES = ["lstm", "layer-norm-gru", "rhn", "hyper-lstm", "hyper-gru", "hyper-rnn-full"]


@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.:FutureWarning")
@pytest.mark.filterwarnings("ignore:# The axis name:UserWarning")
@pytest.mark.parametrize("name", ONNX_FAMILIES)
def test_onnx_computes_the_same(name):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    family = FAMILIES[name]
    torch.manual_seed(0)
    network = family.network(num_layers=2, dtype=torch.float32).eval()
    state = tensors(family.state(2, 3, dtype=torch.float32))
    of_x, of_state = open_sizes(cell=False)
    names = [f"s{k}" for k in range(len(state))]
    with torch.no_grad():
        program = torch.onnx.export(
            Flat(network).eval(),
            (torch.randn(7, 3, 3), *state),
            dynamo=True,
            verbose=False,
            dynamic_shapes=(of_x, tuple(of_state for _ in state)),
            input_names=["x", *names],
        )
    session = runtime.InferenceSession(program.model_proto.SerializeToString())
    assert [node.op_type for node in program.model_proto.graph.node].count("Scan") == 2
    for time, batch in SIZES:
        x, state = torch.randn(time, batch, 3), tensors(family.state(2, batch, dtype=torch.float32))
        read = {"x": x.numpy()} | {name: tensor.numpy() for name, tensor in zip(names, state, strict=True)}
        with torch.no_grad():
            expected = Flat(network)(x, *state)
        for found, wanted in zip(session.run(None, read), expected, strict=True):
            assert np.abs(found - wanted.numpy()).max() <= ONNX


@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.:FutureWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # torch's own
def test_onnx_is_written_with_gradients_on(tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    rnn, file = hn.LSTM(3, 5).eval(), tmp_path / "lstm.onnx"
    shapes = ({0: Dim("time", min=1, max=99)},)
    made = torch.onnx.export(rnn, (torch.randn(7, 2, 3),), dynamo=True, verbose=False, dynamic_shapes=shapes)
    assert made is not None
    made.save(file)
    session, x = runtime.InferenceSession(file), torch.randn(11, 2, 3)
    output = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    np.testing.assert_allclose(output, rnn(x)[0].detach().numpy(), atol=ONNX)
