import hashlib
import io
import json
import os
import pickle
import random
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hypernetworks.errors import FaultError, UsageError
from hypernetworks.runs.checkpoint import load_model, load_trainer, model_digest, save_model, save_trainer


def some_state() -> dict[str, Any]:
    weight = torch.arange(12.0).reshape(3, 4)
    return {
        "step": 7,
        "model": {"w": weight, "tied": weight, "half": weight[1].bfloat16(), "none": torch.zeros(0, 2)},
        "optimizer": {"state": {0: {"exp_avg": weight + 1}}, "groups": [{"lr": 1e-3, "betas": (0.9, 0.99)}]},
        "random": [torch.get_rng_state(), random.Random(0).getstate()],
        "flags": (None, True, "Ω"),
    }


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@contextmanager
def one_clear_line() -> Iterator[None]:
    """Lets a UsageError of one line pass, and nothing else."""
    try:
        yield
    except UsageError as error:
        if "\n" in str(error):
            raise


class Bomb:
    """Unpickled freely, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def archive(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def sealed(data: bytes) -> bytes:
    """Data with the mark and the right digest, as someone who means harm would write them."""
    data += b"hypernetworks trainer 1 sha256 "
    return data + hashlib.sha256(data).hexdigest().encode()


class TestTrainer:
    def test_it_comes_back_as_it_was(self, tmp_path: Path) -> None:
        path, state = tmp_path / "trainer.pt", some_state()
        save_trainer(path, state)
        loaded = load_trainer(path, ["step", "model"])
        assert same(loaded, state)
        assert loaded["model"]["w"].data_ptr() == loaded["model"]["tied"].data_ptr()
        assert same(torch.load(path, weights_only=True), state)
        assert zipfile.ZipFile(path).testzip() is None

    def test_a_module_and_an_optimiser_come_back(self, tmp_path: Path) -> None:
        module = nn.Linear(3, 2)
        optimizer = torch.optim.AdamW(module.parameters())
        module(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        save_trainer(tmp_path / "t", {"model": module.state_dict(), "optimizer": optimizer.state_dict()})
        state = load_trainer(tmp_path / "t", [])
        assert same(state["optimizer"], optimizer.state_dict())
        other = nn.Linear(3, 2)
        other.load_state_dict(state["model"])
        torch.optim.AdamW(other.parameters()).load_state_dict(state["optimizer"])

    def test_a_view_does_not_bring_its_storage(self, tmp_path: Path) -> None:
        save_trainer(tmp_path / "t", {"last": torch.zeros(1000, 100)[-1]})
        assert (tmp_path / "t").stat().st_size < 10_000

    @pytest.mark.parametrize("value", [np.float64(1), np.zeros(2), Path("a"), {1, 2}, torch.float32])
    def test_what_could_not_be_read_back_is_refused_by_place(self, tmp_path: Path, value: Any) -> None:
        with pytest.raises(TypeError, match=rf"state\['a'\]\[1\] is a {type(value).__name__}"):
            save_trainer(tmp_path / "t", {"a": [0, value]})
        assert not any(tmp_path.iterdir())

    def test_every_changed_byte_is_noticed(self, tmp_path: Path) -> None:
        path, draw = tmp_path / "trainer.pt", random.Random(0)
        save_trainer(path, some_state())
        data = path.read_bytes()
        positions = [*range(0, len(data), 23), *range(len(data) - 120, len(data))]
        for position in positions:
            changed = bytearray(data)
            changed[position] ^= draw.randrange(1, 256)
            path.write_bytes(changed)
            with pytest.raises(UsageError, match=r"trainer\.pt: [^\n]*$"):
                load_trainer(path, [])

    def test_every_cut_is_noticed(self, tmp_path: Path) -> None:
        path = tmp_path / "trainer.pt"
        save_trainer(path, some_state())
        data = path.read_bytes()
        for length in [*range(0, len(data), 101), len(data) - 1]:
            path.write_bytes(data[:length])
            with pytest.raises(UsageError, match=r"trainer\.pt: cut short, or not .*: replace it with a good copy"):
                load_trainer(path, [])

    def test_foreign_files(self, tmp_path: Path) -> None:
        path = tmp_path / "trainer.pt"
        contents = [
            b"",
            b"some text\n" * 100,
            archive({"step": 1}),
            pickle.dumps(Bomb(tmp_path / "ran")),
            archive(Bomb(tmp_path / "ran")),
        ]
        for data in contents:
            path.write_bytes(data)
            with pytest.raises(UsageError, match="not a trainer's state written by hypernetworks"):
                load_trainer(path, [])
        with pytest.raises(UsageError, match="no such file"):
            load_trainer(tmp_path / "none", [])
        assert not (tmp_path / "ran").exists()

    def test_a_sealed_pickle_runs_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "trainer.pt"
        for data in [pickle.dumps(Bomb(tmp_path / "ran"), 2), archive(Bomb(tmp_path / "ran")), b"no archive"]:
            path.write_bytes(sealed(data))
            with pytest.raises(UsageError, match="not a readable trainer's state"):
                load_trainer(path, [])
        assert not (tmp_path / "ran").exists()

    def test_sealed_damage_is_one_clear_line(self, tmp_path: Path) -> None:
        path, draw = tmp_path / "trainer.pt", random.Random(0)
        data = archive(some_state())
        for _ in range(400):
            changed = bytearray(data)
            for _ in range(draw.randrange(1, 4)):
                changed[draw.randrange(1500)] ^= draw.randrange(1, 256)
            path.write_bytes(sealed(bytes(changed)))
            with one_clear_line():
                assert isinstance(load_trainer(path, []), dict)

    def test_what_torch_warns_of_is_not_shown(self, tmp_path: Path) -> None:
        buffer = io.BytesIO()
        torch.save({"step": 1}, buffer, pickle_protocol=3)  # "not the default pickle protocol": a warning fails a test
        (tmp_path / "trainer.pt").write_bytes(sealed(buffer.getvalue()))
        assert load_trainer(tmp_path / "trainer.pt", ["step"]) == {"step": 1}

    def test_missing_keys_another_format_and_no_dict(self, tmp_path: Path) -> None:
        path = tmp_path / "trainer.pt"
        save_trainer(path, {"step": 1})
        with pytest.raises(UsageError, match=r"trainer\.pt: holds no 'model', 'best'"):
            load_trainer(path, ["step", "model", "best"])
        path.write_bytes(path.read_bytes().replace(b"trainer 1 sha", b"trainer 2 sha"))
        with pytest.raises(UsageError, match="format 2, this version reads format 1"):
            load_trainer(path, [])
        path.write_bytes(sealed(archive([1, 2])))
        with pytest.raises(UsageError, match="holds a list, expected a dict"):
            load_trainer(path, [])


class TestModel:
    METADATA = {"step": "3", "score": "0.5"}  # noqa: RUF012

    def tensors(self) -> dict[str, torch.Tensor]:
        weight = nn.Parameter(torch.arange(12.0).reshape(3, 4))
        return {
            "w": weight,
            "tied": weight,
            "transposed": weight.t(),
            "row": weight[1],
            "scalar": torch.tensor(2, dtype=torch.int64),
            "none": torch.zeros(0, 3),
            "half": torch.ones(3, dtype=torch.bfloat16),
            "flag": torch.tensor([True]),
        }

    def test_it_comes_back_as_it_was(self, tmp_path: Path) -> None:
        path, tensors = tmp_path / "model.safetensors", self.tensors()
        save_model(path, tensors, self.METADATA)
        loaded, metadata = load_model(path)
        assert metadata == self.METADATA
        assert same(dict(sorted(loaded.items())), dict(sorted(tensors.items())))
        assert model_digest(loaded, metadata) == model_digest(tensors, self.METADATA)

    def test_equal_models_are_equal_files(self, tmp_path: Path) -> None:
        metadata = {**self.METADATA, **{f"name {n}": '"ü\n\\' for n in range(20)}}
        for n in range(5):
            save_model(tmp_path / f"{n}.safetensors", self.tensors(), metadata)
        assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
        assert load_model(tmp_path / "0.safetensors")[1] == metadata

    def test_the_digest_tells_names_shapes_types_values_and_metadata_apart(self) -> None:
        a = torch.zeros(4)
        variants = [{"a": a}, {"b": a}, {"a": a.reshape(2, 2)}, {"a": a.int()}, {"a": a + 1}, {"a": a, "b": a}, {}]
        digests = [model_digest(tensors, {}) for tensors in variants] + [model_digest({"a": a}, {"step": "1"})]
        assert len(set(digests)) == len(digests)

    def test_every_changed_byte_is_noticed(self, tmp_path: Path) -> None:
        path, draw = tmp_path / "model.safetensors", random.Random(0)
        save_model(path, self.tensors(), self.METADATA)
        data = path.read_bytes()
        for position in range(len(data)):
            changed = bytearray(data)
            changed[position] ^= draw.randrange(1, 256)
            path.write_bytes(changed)
            with one_clear_line():  # or the same contents: one blank for another
                assert model_digest(*load_model(path)) == model_digest(self.tensors(), self.METADATA)

    def test_cuts_and_foreign_files(self, tmp_path: Path) -> None:
        path = tmp_path / "model.safetensors"
        save_model(path, self.tensors(), self.METADATA)
        data = path.read_bytes()
        contents = [data[:length] for length in (0, 7, 8, 9, 100, len(data) - 1)]
        contents += [data + b"x", b"some text\n" * 100, pickle.dumps(Bomb(tmp_path / "ran")), archive({"step": 1})]
        for content in contents:
            path.write_bytes(content)
            with pytest.raises(UsageError, match=r"model\.safetensors: not a whole safetensors file \([^\n]*$"):
                load_model(path)
        with pytest.raises(UsageError, match="no such file"):
            load_model(tmp_path / "none")
        with pytest.raises(UsageError, match="is not a regular file"):
            load_model(tmp_path)
        assert not (tmp_path / "ran").exists()

    def test_what_was_read_does_not_hang_on_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "model.safetensors"
        save_model(path, {"w": torch.ones(100_000)}, {})
        tensors, _ = load_model(path)
        path.write_bytes(b"")
        assert tensors["w"].sum() == 100_000

    @pytest.mark.parametrize(
        "header",
        [
            b"[" * 100_000,
            {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 1 << 40]}},
            {"a": {"dtype": "F32", "shape": [1 << 62], "data_offsets": [0, 16]}},
            {"a": {"dtype": "F32", "shape": [1 << 63, 0], "data_offsets": [0, 0]}},
            {"a": {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}},
            {"a": {"dtype": "F6_E2M3", "shape": [4], "data_offsets": [0, 3]}},
        ],
    )
    def test_a_header_that_lies(self, tmp_path: Path, header: Any) -> None:
        path = tmp_path / "model.safetensors"
        if isinstance(header, dict):
            header = json.dumps({"__metadata__": {"format": "hypernetworks model 1"}, **header}).encode()
        for length in (len(header), 1 << 60):
            size = 3 if b"F6" in header else 0 if b"[0, 0]" in header else 16
            path.write_bytes(length.to_bytes(8, "little") + header + bytes(size))
            with pytest.raises(UsageError, match=r"model\.safetensors: not a whole safetensors file \([^\n]*$"):
                load_model(path)

    def test_safetensors_of_someone_else(self, tmp_path: Path) -> None:
        from safetensors.torch import save_file

        path = tmp_path / "model.safetensors"
        for metadata in (None, {"format": "pt"}):
            save_file({"a": torch.zeros(1)}, path, metadata)
            with pytest.raises(UsageError, match="not a model written by hypernetworks"):
                load_model(path)

    def test_a_file_that_the_system_keeps(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> bool:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "is_file", refuse)
        for load in (load_model, lambda path: load_trainer(path, [])):
            with pytest.raises(FaultError, match="cannot be read: Permission denied"):
                load(tmp_path / "a")
