"""What a run keeps on disk of a training: the trainer's state, and the best model alone.

Neither file can run code when it is read, and both notice any changed byte:

* the trainer's state is a ``torch.save`` archive, read with ``weights_only``. PyTorch does not check the archive's
  checksums when it reads, so the SHA-256 of the file stands in the archive's own comment, at the very end
  (``torch.load`` and ``unzip`` read the file as any other);
* the model is a safetensors file, which has no checksums, so the SHA-256 of its contents stands in its metadata.
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

# What torch.load was seen to raise on archives made to mislead it, their digest in order.
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
# And what safetensors raises besides its own error: a type that PyTorch lacks, a size past 64 bits.
_NO_SAFETENSORS = (safetensors.SafetensorError, LookupError, TypeError, ValueError, RuntimeError)


def save_trainer(path: Path, state: Mapping[str, Any], keep: Path | None = None) -> None:
    """Write a trainer's state whole: dicts, lists and tuples of tensors, numbers, strings, booleans and None.

    Tensors may lie on any device and may share memory: what shares it is stored once. ``keep`` is a name for the state
    that was there, as ``write_whole`` has it.

    Raises:
        TypeError: a value is of another kind, so ``load_trainer`` could not read it back; its place is named.
        FaultError: the system refused to write.
    """
    buffer = io.BytesIO()
    torch.save(_plain(state, "state"), buffer)
    # The last two bytes of a zip archive without a comment are the comment's length, 0.
    buffer.seek(-2, io.SEEK_END)
    buffer.write((len(_TRAINER_MARK) + _SHA256_DIGITS).to_bytes(2, "little") + _TRAINER_MARK)
    buffer.write(hashlib.sha256(buffer.getbuffer()).hexdigest().encode())
    write_whole(path, buffer.getbuffer(), keep)


def load_trainer(path: Path, keys: Collection[str]) -> dict[str, Any]:
    """Read a trainer's state, its tensors on the CPU; ``keys`` are those it must hold.

    Raises:
        UsageError: there is no such file, or it is cut short, damaged, of another format, or lacks a key.
        FaultError: the system refused to read.
    """
    data = read_whole(path)
    advice = "put a good copy in its place, or begin a new run"
    trailer = _TRAILER.fullmatch(data[-len(_TRAINER_MARK) - _SHA256_DIGITS :])
    if trailer is None:
        raise UsageError(f"{path}: cut short, or not a trainer's state written by hypernetworks: {advice}")
    if trailer[1] != b"1":
        raise UsageError(f"{path}: trainer's state of format {trailer[1].decode()}, this version reads format 1")
    if hashlib.sha256(memoryview(data)[:-_SHA256_DIGITS]).hexdigest() != trailer[2].decode():
        raise UsageError(f"{path}: damaged (its SHA-256 is not the one it was written with): {advice}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about what a damaged archive names: the error tells enough
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise UsageError(f"{path}: not a readable trainer's state ({type(error).__name__}): {advice}") from error
    if not isinstance(state, dict):
        raise UsageError(f"{path}: holds a {type(state).__name__}, expected a dict: {advice}")
    if missing := [key for key in keys if key not in state]:
        raise UsageError(f"{path}: holds no {', '.join(map(repr, missing))}: {advice}")
    return state


def save_model(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a model whole, as safetensors: copies on the CPU, tied tensors once under each name.

    ``metadata`` are kept beside the tensors; the names "format" and "sha256" are taken.

    Raises:
        FaultError: the system refused to write.
    """
    # safetensors refuses tensors that share memory or are not contiguous. A copy under each name loads strictly.
    copies = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    marks = {"format": _MODEL_FORMAT, "sha256": model_digest(copies, metadata)}
    write_whole(path, safetensors.torch.save(copies, {**metadata, **marks}))


def load_model(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a model that ``save_model`` wrote: its tensors on the CPU, and its metadata.

    Raises:
        UsageError: there is no such file, or it is cut short, damaged or not written by ``save_model``.
        FaultError: the system refused to read.
    """
    # From bytes and not by safetensors' way of mapping the file: a mapped file that is cut short kills its reader.
    data = read_whole(path)
    try:
        tensors = safetensors.torch.load(data)
    except _NO_SAFETENSORS as error:
        reason = str(error).partition("\n")[0][:120]
        raise UsageError(f"{path}: not a whole safetensors file ({reason})") from error
    # The header, found valid by now: its length in 8 bytes, then JSON.
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata: dict[str, str] = header.get("__metadata__") or {}
    if metadata.pop("format", None) != _MODEL_FORMAT:
        raise UsageError(f"{path}: not a model written by hypernetworks (its metadata lack that format)")
    if metadata.pop("sha256", None) != model_digest(tensors, metadata):
        raise UsageError(f"{path}: damaged (the SHA-256 of its contents is not the one it was written with)")
    return tensors, metadata


def model_digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Return the SHA-256 of named tensors and metadata, whatever their order, device and layout in memory."""
    digest = hashlib.sha256(repr(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _plain(value: Any, place: str) -> Any:
    """Return ``value`` in the types that ``weights_only`` reads; found out here, not when the run is resumed."""
    if isinstance(value, Tensor):
        # torch.save keeps the whole storage of a view: a last state would bring its whole sequence along.
        return value.detach() if value.untyped_storage().nbytes() == value.nbytes else value.detach().clone()
    if isinstance(value, Mapping):
        return {_plain(key, f"{place} key"): _plain(item, f"{place}[{key!r}]") for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_plain(item, f"{place}[{index}]") for index, item in enumerate(value))
    if value is None or type(value) in (bool, int, float, str):  # exactly: numpy's float64 is a float, too
        return value
    raise TypeError(f"{place} is a {type(value).__name__}, which a checkpoint cannot hold; expected plain data")
