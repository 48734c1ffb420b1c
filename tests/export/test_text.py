"""text export: the file computes what the model computes, and the example continues a text with it."""

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import hypernetworks as hn
from hypernetworks import cli
from hypernetworks.text import CharacterModel, CharacterModelConfig
from hypernetworks.text.config import Symbols
from hypernetworks.text.export import state_names, to_onnx, to_torch, zero_state

from ..small_run import TEXT, trained  # noqa: F401  (a fixture)

EXAMPLE = Path(__file__).parents[2] / "examples" / "generate_onnx.py"
SMALL = CharacterModelConfig(hidden_size=6, embedding_size=5, hyper_size=4, hyper_embedding_size=2, depth=2)
CONFIGS = {
    "hyper-lstm": SMALL,
    "two layers, skips": replace(SMALL, network="layer-norm-lstm", num_layers=2, skips=True),
    "one-hot": replace(SMALL, network="gru", embedding_size=0),
    "zoneout, dropout": replace(SMALL, network="lstm", zoneout=0.1, dropout=0.2, input_dropout=0.2),
    "rhn, tied": replace(SMALL, network="rhn", embedding_size=6, tie_weights=True),
}
SYMBOLS = Symbols(tuple("\nabcde"), "character")
SIZES = [(1, 3), (5, 3), (17, 1), (2, 8)]


def model_of(config: CharacterModelConfig) -> CharacterModel:
    torch.manual_seed(0)
    return CharacterModel(config, len(SYMBOLS.alphabet)).eval()


def expected(model, ids, state):
    cell = model.network.cell(0)
    with torch.no_grad():
        logits, new = model(ids, cell.named_state(state))
    return [tensor.numpy() for tensor in (logits, *cell.state_tensors(new))]


@pytest.mark.filterwarnings("ignore:The given buffer is not writable:UserWarning")  # torch 2.11, of the file it reads
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_torchs_program_computes_the_same(config, tmp_path):
    model = model_of(config)
    (tmp_path / "model.pt2").write_bytes(to_torch(model, SYMBOLS))
    extra = {"alphabet": "", "unit": ""}
    program = torch.export.load(tmp_path / "model.pt2", extra_files=extra)
    assert tuple(json.loads(extra["alphabet"])) == SYMBOLS.alphabet
    assert extra["unit"] == "character"
    assert not [node for node in program.graph.nodes if "hypernetworks" in str(node.target)]
    for time, batch in SIZES:
        ids = torch.randint(6, (time, batch))
        state = [torch.randn_like(tensor) for tensor in zero_state(model, batch)]
        for found, wanted in zip(program.module()(ids, *state), expected(model, ids, state), strict=True):
            assert np.abs(found.numpy() - wanted).max() <= 1e-5


@pytest.mark.parametrize("name", ["hyper-lstm", "two layers, skips"])
def test_onnx_computes_the_same(name):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    model = model_of(CONFIGS[name])
    session = runtime.InferenceSession(to_onnx(model, SYMBOLS))
    names = state_names(model)
    assert [given.name for given in session.get_inputs()] == ["ids", *names]
    assert [result.name for result in session.get_outputs()] == ["logits", *(f"new_{name}" for name in names)]
    for time, batch in SIZES:
        ids = torch.randint(6, (time, batch))
        state = [torch.randn_like(tensor) for tensor in zero_state(model, batch)]
        read = {"ids": ids.numpy()} | {name: tensor.numpy() for name, tensor in zip(names, state, strict=True)}
        for found, wanted in zip(session.run(None, read), expected(model, ids, state), strict=True):
            assert np.abs(found - wanted).max() <= 1e-5


def test_the_command_and_the_loop_on_onnxruntime(trained, tmp_path, capsys):  # noqa: F811
    """The most probable characters are the same ones; int8 changes the loss little."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    out = tmp_path / "model.onnx"
    assert cli.main(["text", "export", str(trained), "--to", "onnx", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert re.fullmatch(r"export: .*model\.onnx \(0\.\d MB\)\n\(ids, h, c\) -> \(logits, new_h, new_c\)\n", printed.out)
    assert printed.err == ""
    spec = importlib.util.spec_from_file_location("generate_onnx", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    lm = hn.load(trained)
    text = "".join(example.generate(str(out), "1 is ", 40, temperature=1e-6))
    assert text == lm.generate("1 is ", 40, temperature=0)  # pyright: ignore[reportAttributeAccessIssue]

    quantization = pytest.importorskip("onnxruntime.quantization")
    pre = pytest.importorskip("onnxruntime.quantization.shape_inference")
    pre.quant_pre_process(out, tmp_path / "folded.onnx", skip_symbolic_shape=True)
    quantization.quantize_dynamic(
        tmp_path / "folded.onnx",
        tmp_path / "int8.onnx",
        weight_type=quantization.QuantType.QInt8,
        extra_options={"EnableSubgraph": True},
    )
    ids = [lm.alphabet.index(symbol) for symbol in TEXT[:400]]
    float32, int8 = (nats(str(path), ids) for path in (out, tmp_path / "int8.onnx"))
    assert float32 == pytest.approx(lm.evaluate(TEXT[:400]).nats, abs=1e-5)
    assert float32 != int8
    assert int8 == pytest.approx(float32, abs=0.02)


def nats(path, ids):
    """The loss of a file on a text, read by onnxruntime."""
    session = pytest.importorskip("onnxruntime").InferenceSession(path)
    state = {
        given.name: np.zeros((given.shape[0], 1, given.shape[2]), np.float32) for given in session.get_inputs()[1:]
    }
    logits = session.run(["logits"], {"ids": np.array(ids[:-1])[:, None], **state})[0]
    return torch.nn.functional.cross_entropy(torch.tensor(logits[:, 0]).double(), torch.tensor(ids[1:])).item()


def test_torch_by_command(trained, tmp_path, capsys):  # noqa: F811
    assert cli.main(["text", "export", str(trained), "--to", "torch", "--out", str(tmp_path / "m.pt2")]) == 0
    assert "(ids, h, c) -> (logits, new_h, new_c)" in capsys.readouterr().out
    torch.export.load(tmp_path / "m.pt2")


def test_without_onnx_the_extra_is_named(trained, tmp_path, monkeypatch, capsys):  # noqa: F811
    def missing(*given, **named):
        raise ImportError("No module named 'onnxscript'")

    monkeypatch.setattr(torch.onnx, "export", missing)
    assert cli.main(["text", "export", str(trained), "--out", str(tmp_path / "m.onnx")]) == 2
    assert "pip install 'hypernetworks[onnx]'" in capsys.readouterr().err
