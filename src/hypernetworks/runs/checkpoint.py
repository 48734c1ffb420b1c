"""The files of a checkpoint: the state of the trainer, and the best model.

Reading either file cannot run code, and detects any changed byte:

* The state of the trainer is a `torch.save` archive, read with `weights_only`. PyTorch does not verify the archive's checksums,
  so the SHA-256 of the file is stored in the archive's comment, at its end. `torch.load` and `unzip` read the file as usual.
* The model is a safetensors file. The format has no checksum, so the SHA-256 of the contents is stored in its metadata.
"""

import hashlib
import io
import json
import pickle
import re
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from hypernetworks.errors import UsageError
from hypernetworks.files import read_whole, write_whole

__all__ = ["load_model", "load_trainer", "model_digest", "save_model", "save_trainer"]

_TRAINER_MARK = b"hypernetworks trainer 1 sha256 "
_MODEL_FORMAT = "hypernetworks model 1"
_TRAILER = re.compile(rb"hypernetworks trainer (\d+) sha256 ([0-9a-f]{64})")
_SHA256_DIGITS = 64

# What torch.load raises on crafted archives whose digest is correct.
_UNREADABLE = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
)
# What safetensors raises besides its own error: for a type that PyTorch lacks, or a size beyond 64 bits.
_NO_SAFETENSORS = (safetensors.SafetensorError, LookupError, TypeError, ValueError, RuntimeError)


def save_trainer(path: Path, state: Mapping[str, Any], keep: Path | None = None) -> None:
    """Write the state of a trainer atomically.

    Args:
        path: the file.
        state: dicts, lists and tuples of tensors, numbers, strings, booleans and None. Tensors may be on any device. Shared
            memory is stored once.
        keep: a name for the previous state, see `write_whole`.

    Raises:
        TypeError: a value has another type, so `load_trainer` could not read it back; the message names its place.
        FaultError: the file could not be written.
    """
    buffer = io.BytesIO()
    torch.save(_plain(state, "state"), buffer)
    # A zip archive without a comment ends with the length of the comment, 0, in two bytes.
    buffer.seek(-2, io.SEEK_END)
    buffer.write((len(_TRAINER_MARK) + _SHA256_DIGITS).to_bytes(2, "little") + _TRAINER_MARK)
    buffer.write(hashlib.sha256(buffer.getbuffer()).hexdigest().encode())
    write_whole(path, buffer.getbuffer(), keep)


def load_trainer(path: Path, keys: Collection[str]) -> dict[str, Any]:
    """Read the state of a trainer, with its tensors on the CPU.

    Args:
        path: the file.
        keys: the keys that it must hold.

    Raises:
        UsageError: the file is missing, truncated, damaged, of another format, or lacks a key.
        FaultError: the file could not be read.
    """
    data = read_whole(path)
    advice = "replace it with a good copy, or start a new run"
    trailer = _TRAILER.fullmatch(data[-len(_TRAINER_MARK) - _SHA256_DIGITS :])
    if trailer is None:
        raise UsageError(f"{path}: cut short, or not a trainer's state written by hypernetworks: {advice}")
    if trailer[1] != b"1":
        raise UsageError(f"{path}: trainer's state of format {trailer[1].decode()}, this version reads format 1")
    if hashlib.sha256(memoryview(data)[:-_SHA256_DIGITS]).hexdigest() != trailer[2].decode():
        raise UsageError(f"{path}: damaged (its SHA-256 is not the one it was written with): {advice}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about what a damaged archive names; the error says enough
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise UsageError(f"{path}: not a readable trainer's state ({type(error).__name__}): {advice}") from error
    if not isinstance(state, dict):
        raise UsageError(f"{path}: holds a {type(state).__name__}, expected a dict: {advice}")
    if missing := [key for key in keys if key not in state]:
        raise UsageError(f"{path}: holds no {', '.join(map(repr, missing))}: {advice}")
    return state


def save_model(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a model atomically as safetensors. Tied tensors are stored under each of their names.

    Args:
        path: the file.
        tensors: the weights, on any device.
        metadata: stored with the tensors. The names "format" and "sha256" are reserved.

    Raises:
        FaultError: the file could not be written.
    """
    # safetensors refuses tensors that share memory or are not contiguous
    copies = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    marks = {"format": _MODEL_FORMAT, "sha256": model_digest(copies, metadata)}
    write_whole(path, _sorted(safetensors.torch.save(copies, {**metadata, **marks})))


def _sorted(data: bytes) -> bytes:
    """The same file with a sorted header, so that equal models are equal files. safetensors writes metadata in random order."""
    size = int.from_bytes(data[:8], "little")
    header = json.dumps(
        json.loads(data[8 : 8 + size]), sort_keys=True, ensure_ascii=False, separators=(",", ":")
    ).encode()
    return data[:8] + header.ljust(size) + data[8 + size :]


def load_model(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a model written by `save_model`: its tensors on the CPU, and its metadata.

    Raises:
        UsageError: the file is missing, truncated, damaged, or was not written by `save_model`.
        FaultError: the file could not be read.
    """
    # Read into memory, not mapped: truncating a mapped file kills the process that reads it.
    data = read_whole(path)
    try:
        tensors = safetensors.torch.load(data)
    except _NO_SAFETENSORS as error:
        reason = str(error).partition("\n")[0][:120]
        raise UsageError(f"{path}: not a whole safetensors file ({reason})") from error
    # The header, valid at this point: its length in 8 bytes, then JSON.
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata: dict[str, str] = header.get("__metadata__") or {}
    if metadata.pop("format", None) != _MODEL_FORMAT:
        raise UsageError(f"{path}: not a model written by hypernetworks (its metadata lack that format)")
    if metadata.pop("sha256", None) != model_digest(tensors, metadata):
        raise UsageError(f"{path}: damaged (the SHA-256 of its contents is not the one it was written with)")
    return tensors, metadata


def model_digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """The SHA-256 of named tensors and metadata, independent of order, device and memory layout."""
    digest = hashlib.sha256(repr(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _plain(value: Any, place: str) -> Any:
    """`value` in the types that `weights_only` reads. Other types fail here, not when the run is resumed."""
    if isinstance(value, Tensor):
        # torch.save stores the whole storage of a view, for example a whole sequence for its last state
        return value.detach() if value.untyped_storage().nbytes() == value.nbytes else value.detach().clone()
    if isinstance(value, Mapping):
        return {_plain(key, f"{place} key"): _plain(item, f"{place}[{key!r}]") for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_plain(item, f"{place}[{index}]") for index, item in enumerate(value))
    if value is None or type(value) in (bool, int, float, str):  # exactly: numpy's float64 is a float, too
        return value
    raise TypeError(f"{place} is a {type(value).__name__}, which a checkpoint cannot hold; expected plain data")
