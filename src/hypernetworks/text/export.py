"""A character model as a program for other places: ONNX, or torch.export.

    logits, h, c, … = program(ids, h, c, …)              ids (T, B), logits (T, B, V), each tensor of the state (layers, B, ·)

T and B are open: one program reads a prompt and takes single steps. It has the operators of ONNX or of torch alone, so running
it does not need this package.
"""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from hypernetworks.errors import UsageError
from hypernetworks.recurrent import use_backend
from hypernetworks.text.config import Symbols
from hypernetworks.text.model import CharacterModel
from hypernetworks.text.words import word_pattern

ALPHABET, UNIT, PATTERN = "alphabet", "unit", "pattern"
"""The names under which a program stores the symbols, as a JSON list, what one is, and, if that is a word, the regular
expression of words.py that cuts a text into words and other characters."""

_LONGEST, _LARGEST = 2**20, 2**16


class Stateful(nn.Module):
    """A character model whose state is separate tensors: (ids, h, c, …) -> (logits, h, c, …)."""

    def __init__(self, model: CharacterModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """As the model, from the state's tensors to those of the new state."""
        cell = self.model.network.cell(0)
        logits, new = self.model(ids, cell.named_state(state))
        return logits, *cell.state_tensors(new)


def state_names(model: CharacterModel) -> tuple[str, ...]:
    """The names of the state's tensors: the program's inputs after ids. The results have new_ before them."""
    return tuple(model.network.cell(0).state_names)


def zero_state(model: CharacterModel, batch: int = 1) -> tuple[Tensor, ...]:
    """The state before the first character, each tensor (layers, batch, ·)."""
    return tuple(model.network.cell(0).zero_state(model.head.weight.detach(), model.config.num_layers, batch))


def to_torch(model: CharacterModel, symbols: Symbols) -> bytes:
    """The content of a file that torch.export.load reads. Its extra files are alphabet, unit and, for words, pattern."""
    module, given, shapes = _example(model)
    with use_backend("reference"), torch.no_grad():  # the native operators belong to this package
        program = torch.export.export(module, given, dynamic_shapes=shapes)
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files=_described(symbols))
    return buffer.getvalue()


def to_onnx(model: CharacterModel, symbols: Symbols) -> bytes:
    """The content of an ONNX file. Its metadata are alphabet, unit and, for words, pattern.

    Raises:
        UsageError: the packages onnx and onnxscript, which torch needs for it, are not installed.
    """
    module, given, shapes = _example(model)
    names = state_names(model)
    results = ["logits", *(f"new_{name}" for name in names)]
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                module,
                given,
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=["ids", *names],
                output_names=results,
                verbose=False,
            )
    except ImportError as error:
        raise UsageError("export to ONNX needs onnx and onnxscript: pip install 'hypernetworks[onnx]'") from error
    assert program is not None
    program.model.metadata_props.update(_described(symbols))
    return program.model_proto.SerializeToString()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks about its own code, and about open sizes that share a name, as here they should."""
    log = logging.getLogger("onnxscript")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)", category=FutureWarning)
            warnings.filterwarnings("ignore", message="# The axis name", category=UserWarning)
            yield
    finally:
        log.setLevel(level)


def _described(symbols: Symbols) -> dict[str, str]:
    pattern = {PATTERN: word_pattern()} if symbols.unit == "word" else {}
    return {ALPHABET: json.dumps(symbols.alphabet), UNIT: symbols.unit, **pattern}


def _example(model: CharacterModel) -> tuple[nn.Module, tuple[Tensor, ...], Any]:
    """A frozen copy of the model, arguments to trace it with, and their open sizes; torch would take a size of 1 for fixed."""
    time, batch = torch.export.Dim("time", min=1, max=_LONGEST), torch.export.Dim("batch", min=1, max=_LARGEST)
    device = model.head.weight.device
    state = zero_state(model, 2)
    ids = torch.zeros(3, 2, dtype=torch.int64, device=device)
    frozen = Stateful(deepcopy(model)).eval().requires_grad_(False)  # a scan with gradients is another program
    return frozen, (ids, *state), ({0: time, 1: batch}, tuple({1: batch} for _ in state))
