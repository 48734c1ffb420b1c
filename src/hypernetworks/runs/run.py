"""A run is a folder: what was asked for, what was measured, the best model, and all that is needed to go on.

    config.json         the settings, and the versions and machine they ran with; written once
    metrics.jsonl       one JSON object a line; grows
    trainer.pt          the trainer's state: the one commit point
    trainer.before.pt   that of the commit before, for the day that trainer.pt is damaged
    model.safetensors   the best model; a copy of what trainer.pt holds
    curve.svg, samples.txt
    run.lock            names the process that writes the run, while it does

Everything but ``metrics.jsonl`` is written whole or not at all. A commit forces the metrics to disk, then puts
``trainer.pt``, which has the metrics so far, in place, then ``model.safetensors`` where the best model changed. Killed
before the rename of ``trainer.pt``, the last commit stands and the metrics past it are cut; killed after it, the new commit
stands and the model is made again from it. There is no third case.

A disk may damage what was whole. Metrics and model are made again from ``trainer.pt``; where that is damaged itself, the
run goes on from the commit before it, and says so.
"""

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hypernetworks.errors import FaultError, UsageError
from hypernetworks.files import json_object, make_folder, read_whole, remove_stale, write_whole
from hypernetworks.runs.checkpoint import load_model, load_trainer, model_digest, save_model, save_trainer
from hypernetworks.runs.lock import LOCK
from hypernetworks.runs.machine import other_surroundings, surroundings
from hypernetworks.runs.metrics import Metrics, read_metrics

__all__ = ["CONFIG_LIMIT", "Run"]

_CONFIG, _METRICS, _MODEL = "config.json", "metrics.jsonl", "model.safetensors"
_TRAINER, _BEFORE = "trainer.pt", "trainer.before.pt"
_TEXTS = ("curve.svg", "samples.txt")
_NAMES = (_CONFIG, _METRICS, _TRAINER, _MODEL, *_TEXTS)  # those that are written; _BEFORE was a _TRAINER
CONFIG_LIMIT = 1 << 20
"""The most bytes of a config.json that are read; a config is a few thousand."""


class Run:
    """A run's folder. ``Run.create`` makes a new one, ``Run.open`` finds one again.

    One that was opened can be read. It can be written (``record``, ``commit``) after ``restore`` alone, which brings
    the folder back to its last commit; reading changes nothing on disk, so a run can be read while it is trained.
    Who creates or restores a run holds ``only_writer(folder)``.

    Attributes:
        folder: where the run is.
        config: what ``config.json`` says: the settings given to ``create``, ``versions`` and ``machine``.
    """

    def __init__(self, folder: Path, config: dict[str, Any], config_sha256: str) -> None:
        self.folder = folder
        self.config = config
        self._config_sha256 = config_sha256
        self._metrics: Metrics | None = None  # until the run may be written
        self._model_step: int | None = None  # the step whose weights model.safetensors holds

    @classmethod
    def create(cls, folder: Path, config: Mapping[str, Any]) -> "Run":
        """Make the folder and write ``config.json``: the settings in the order given, then versions and machine.

        Raises:
            UsageError: the folder holds a run or anything else (nothing is overwritten), or is a file; or a
                setting is a number that JSON lacks (NaN, infinity).
            FaultError: the system refused to write.
        """
        config = {**config, **surroundings()}
        try:
            data = (json.dumps(config, indent=2, allow_nan=False) + "\n").encode()
        except ValueError as error:
            raise UsageError(f"{folder}: a setting is not a finite number, which {_CONFIG} cannot hold") from error
        _claim(folder)
        write_whole(folder / _CONFIG, data)
        run = cls(folder, json.loads(data), hashlib.sha256(data).hexdigest())
        run._metrics = Metrics.start(folder / _METRICS)
        return run

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """Find a run again, to read it or, after ``restore``, to go on with it.

        Raises:
            UsageError: there is no such folder, it is not a run's, or its ``config.json`` is not a JSON object.
            FaultError: the system refused to read.
        """
        path = folder / _CONFIG
        try:
            if not folder.is_dir():
                raise UsageError(f"{folder}: {'is a file' if folder.exists() else 'no such folder'}, expected a run")
            if not path.exists():
                raise UsageError(f"{folder}: not a run's folder (it has no {_CONFIG})")
        except OSError as error:
            raise FaultError(f"{folder}: cannot be read: {error.strerror or error}") from error
        data = read_whole(path, CONFIG_LIMIT)
        return cls(folder, json_object(data, str(path)), hashlib.sha256(data).hexdigest())

    def record(self, row: Mapping[str, Any]) -> None:
        """Append one line to ``metrics.jsonl``; it counts from the next ``commit`` on.

        Raises:
            FaultError: a number in ``row`` is not finite (JSON has no such number), or the system refused to write.
        """
        self._writable().append(row)

    def commit(self, trainer: Mapping[str, Any]) -> None:
        """Make everything so far survive: after this returns, ``restore`` answers ``trainer``.

        ``trainer`` holds at least
            step: int
            model: the weights at that step, by name
            best: None, or {"step": int, "score": float, "model": weights}; where the best step is the last
                step, the weights are those of ``model``, so "model" is not looked at here and may be left out
        and whatever else the caller needs to go on, as plain data and tensors; the key "run" is taken.

        Raises:
            TypeError: a value could not be read back; nothing was written.
            ValueError: one of the three keys is missing or of another kind.
            FaultError: the system refused to write. The last commit stands, or this one, whole.
        """
        metrics = self._writable()
        if not _well_formed(trainer):
            raise ValueError("a trainer's state needs step, model and best, as Run.commit tells")
        best = trainer["best"]
        if best is not None and best["step"] == trainer["step"]:
            best = {"step": best["step"], "score": best["score"]}  # not the same weights twice
        state = {**trainer, "best": best, "run": {"config_sha256": self._config_sha256, "metrics": metrics.sync()}}
        save_trainer(self.folder / _TRAINER, state, keep=self.folder / _BEFORE)
        if best is not None and best["step"] != self._model_step:
            self._write_model(_with_weights(state)["best"])

    def restore(self) -> dict[str, Any] | None:
        """Bring the folder back to the last commit and return what was committed, its tensors on the CPU.

        None where nothing was committed yet: the metrics are empty then, and training begins anew. ``best``, where
        it is not None, always holds its weights. What killed writers left is removed, ``metrics.jsonl`` cut back; it and
        ``model.safetensors`` are made again where they are missing, damaged or not those of the commit. Where
        ``trainer.pt`` is missing or damaged, the commit before is the last one. Standard error has a line about this, and
        about other versions or another machine.

        Raises:
            UsageError: ``trainer.pt`` and the one before are damaged, foreign or missing; or ``config.json`` is not what
                it was at the commit.
            FaultError: the system refused to read or write.
        """
        remove_stale(self.folder, _NAMES)
        if not self._was_committed():
            if os.path.lexists(self.folder / _MODEL):
                raise UsageError(
                    f"{self.folder / _TRAINER}: missing, though {_MODEL} tells of a commit: begin a new run"
                )
            self._metrics = Metrics.start(self.folder / _METRICS)
            return None
        trainer, name = self._load_trainer()
        if name == _BEFORE:
            write_whole(self.folder / _TRAINER, read_whole(self.folder / _BEFORE))
            print(
                f"{self.folder / _TRAINER}: damaged or missing: going on from the commit before it, of step {trainer['step']}",
                file=sys.stderr,
            )
        if other := other_surroundings(self.config):
            print(f"{self.folder}: goes on with {other}: the last bits of its numbers may differ", file=sys.stderr)
        metrics = Metrics.restore(self.folder / _METRICS, trainer.pop("run")["metrics"])
        if trainer["best"] is not None:
            self._repair_model(trainer["best"])
        self._metrics = metrics
        return trainer

    def committed(self) -> dict[str, Any] | None:
        """What ``restore`` answers, while another process holds the run: nothing is written.

        Raises:
            UsageError: as ``restore``.
            FaultError: the system refused to read.
        """
        if not self._was_committed():
            return None
        trainer, _ = self._load_trainer()
        return {name: value for name, value in trainer.items() if name != "run"}

    def metrics(self) -> list[dict[str, Any]]:
        """Return the rows of ``metrics.jsonl``, those past the last commit included.

        A last line without its end is left out: it is being written, or its writer was killed.

        Raises:
            UsageError: the file is missing, or a line is not a JSON object; the line is named.
            FaultError: the system refused to read.
        """
        return read_metrics(self.folder / _METRICS)

    def best_model(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Return the weights of the best model, on the CPU, and its metadata: step, score, config_sha256.

        From ``model.safetensors``, or, where that is missing or damaged, from ``trainer.pt``; nothing is written,
        as the run may be training. Killed between the two files, a run shows its best before the last commit
        until it is restored.

        Raises:
            UsageError: neither can be read, or no model was committed yet, or the model is not of this config.
            FaultError: the system refused to read.
        """
        try:
            tensors, metadata = load_model(self.folder / _MODEL)
        except UsageError as damage:
            if not self._was_committed():
                if os.path.lexists(self.folder / _MODEL):
                    raise
                raise UsageError(f"{self.folder}: no model yet (the run ended before its first save)") from damage
            best = self._load_trainer()[0]["best"]
            if best is None:
                raise UsageError(f"{self.folder}: no model yet (the run was not evaluated so far)") from damage
            return best["model"], self._model_metadata(best)
        if metadata.get("config_sha256") != self._config_sha256:
            raise UsageError(
                f"{self.folder}: {_CONFIG} and {_MODEL} are not of the same run: one was changed or copied"
            )
        return tensors, metadata

    def write_text(self, name: str, text: str) -> None:
        """Write ``curve.svg`` or ``samples.txt`` whole; FaultError where the system refuses."""
        if name not in _TEXTS:
            raise ValueError(f"{name!r} is not a text of a run; expected one of {', '.join(_TEXTS)}")
        write_whole(self.folder / name, text.encode())

    def _was_committed(self) -> bool:
        return any(os.path.lexists(self.folder / name) for name in (_TRAINER, _BEFORE))

    def _writable(self) -> Metrics:
        if self._metrics is None:
            raise RuntimeError("a run that was opened is written after restore() alone")
        return self._metrics

    def _load_trainer(self) -> tuple[dict[str, Any], str]:
        """Return the last commit that can be read, the weights of the best in their place, and the name of its file."""
        try:
            return self._load_state(_TRAINER), _TRAINER
        except UsageError as damage:
            try:
                return self._load_state(_BEFORE), _BEFORE
            except UsageError:
                raise damage from None

    def _load_state(self, name: str) -> dict[str, Any]:
        """Return what a trainer's file holds, checked to be of this config."""
        path = self.folder / name
        state = load_trainer(path, ("step", "model", "best", "run"))
        if not (_well_formed(state) and _names_its_run(state)):
            raise UsageError(f"{path}: not the state of a run's trainer: put a good copy in its place")
        if state["run"]["config_sha256"] != self._config_sha256:
            raise UsageError(f"{self.folder}: {_CONFIG} and {name} are not of the same run: one was changed or copied")
        return _with_weights(state)

    def _repair_model(self, best: Mapping[str, Any]) -> None:
        try:
            found = model_digest(*load_model(self.folder / _MODEL))
        except UsageError:
            found = None
        if found == model_digest(best["model"], self._model_metadata(best)):
            self._model_step = best["step"]
        else:
            self._write_model(best)

    def _write_model(self, best: Mapping[str, Any]) -> None:
        save_model(self.folder / _MODEL, best["model"], self._model_metadata(best))
        self._model_step = best["step"]

    def _model_metadata(self, best: Mapping[str, Any]) -> dict[str, str]:
        return {"step": str(best["step"]), "score": repr(best["score"]), "config_sha256": self._config_sha256}


def _claim(folder: Path) -> None:
    """Make the folder of a new run; one that is there must be empty, but for the lock of its writer."""
    make_folder(folder)
    try:
        if os.path.lexists(folder / _CONFIG):
            raise UsageError(f"{folder}: already holds a run: give --resume to go on with it, or another --out")
        remove_stale(folder, _NAMES)  # a create that was killed
        if found := sorted(path.name for path in folder.iterdir() if path.name != LOCK):
            raise UsageError(f"{folder}: holds other files ({found[0]!r}, …): give another --out, new or empty")
    except OSError as error:
        raise FaultError(f"{folder}: cannot be read: {error.strerror or error}") from error


def _well_formed(trainer: Mapping[str, Any]) -> bool:
    match trainer:
        case {"step": int(), "model": weights, "best": None}:
            return _are_weights(weights)
        case {"step": int(last), "model": weights, "best": {"step": int(step), "score": int() | float(), **rest}}:
            return _are_weights(weights) and (step == last or _are_weights(rest.get("model")))
    return False


def _names_its_run(state: Mapping[str, Any]) -> bool:
    match state["run"]:
        case {"config_sha256": str(), "metrics": str()}:
            return True
    return False


def _are_weights(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items()
    )


def _with_weights(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state with the weights of the best in it: copies of the last ones, where the best step is the last."""
    best = state["best"]
    if best is None or best["step"] != state["step"]:
        return state
    weights = {name: tensor.detach().clone() for name, tensor in state["model"].items()}
    return {**state, "best": {**best, "model": weights}}
