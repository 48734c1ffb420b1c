"""A run is a folder with the settings, the metrics, the best model, and everything needed to resume.

    config.json         the settings, and the versions and machine; written once, and again if the run is given more steps
    metrics.jsonl       one JSON object per line; grows
    trainer.pt          the state of the trainer: the commit point
    trainer.before.pt   the previous commit, used if trainer.pt is damaged
    model.safetensors   the best model; a copy of what trainer.pt holds
    curve.svg, samples.txt
    run.lock            names the process that writes the run; removed when it ends

Every file except `metrics.jsonl` is replaced atomically. A commit syncs the metrics to disk, replaces `trainer.pt`, which
includes the metrics so far, and then `model.safetensors` if the best model changed. If the process is killed before the
rename of `trainer.pt`, the last commit holds and later metrics are cut off on restore. If it is killed after the rename, the
new commit holds and the model is written again from it. No other case exists.

A run that is given more steps after its end gets a new `config.json`, which lists the SHA-256 of the one that it replaces. What
was committed under that one still belongs to the run, so the change is the one rename.

Files can also be damaged on disk. Metrics and model are restored from `trainer.pt`. If that is damaged, the run resumes from
the previous commit and reports it.
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
from hypernetworks.files import check_empty, json_object, make_folder, read_whole, remove_stale, write_whole
from hypernetworks.runs.checkpoint import load_model, load_trainer, model_digest, save_model, save_trainer
from hypernetworks.runs.lock import LOCK
from hypernetworks.runs.machine import changed_environment, environment
from hypernetworks.runs.metrics import Metrics, read_metrics
from hypernetworks.runs.state import is_state, names_its_run, same_weights, with_best_weights

__all__ = ["CONFIG_LIMIT", "Run", "config_bytes", "hint_at_runs"]

_CONFIG, _METRICS, _MODEL = "config.json", "metrics.jsonl", "model.safetensors"
_TRAINER, _BEFORE = "trainer.pt", "trainer.before.pt"
_REPLACED = "replaced_sha256"  # an entry of config.json
_TEXTS = ("curve.svg", "samples.txt", "drawings.svg")
_NAMES = (_CONFIG, _METRICS, _TRAINER, _MODEL, *_TEXTS)  # the files written; _BEFORE is a renamed _TRAINER
CONFIG_LIMIT = 1 << 20
"""The largest config.json that is read, in bytes; a typical one has a few thousand."""


def hint_at_runs(folder: Path) -> str:
    """What an error adds if the folder has runs in it, as a comparison or a study has: which to name, else nothing."""
    runs = sorted(path.parent for pattern in ("*", "finals/*") for path in folder.glob(f"{pattern}/{_METRICS}"))
    return f": name one of the folders in it, for example {runs[0]}" if runs else ""


def config_bytes(config: Mapping[str, Any]) -> bytes:
    """A `config.json`; ValueError if a setting is NaN or infinite, which JSON cannot represent."""
    return (json.dumps(config, indent=2, allow_nan=False) + "\n").encode()


class Run:
    """The folder of a run. `Run.create` makes a new one, `Run.open` opens an existing one for reading.

    An opened run can be written (`record`, `commit`) only after `restore`, which returns the folder to its last commit. Reading
    changes nothing on disk, so a run can be read while it is trained. The caller of `create` or `restore` must hold
    `only_writer(folder)`.

    Attributes:
        folder: the path of the folder.
        config: the content of `config.json`: the settings given to `create`, versions, and machine.
    """

    def __init__(self, folder: Path, config: dict[str, Any], config_sha256: str) -> None:
        self.folder = folder
        self.config: dict[str, Any] = config
        self._config_sha256 = config_sha256
        self._metrics: Metrics | None = None  # None until the run may be written
        self._model_step: int | None = None  # the step whose weights model.safetensors holds

    @classmethod
    def create(cls, folder: Path, config: Mapping[str, Any]) -> "Run":
        """Make the folder and write `config.json`: the settings in the given order, then versions and machine.

        Raises:
            UsageError: the folder holds a run or other files (nothing is overwritten), or is a file, or a setting is NaN or
                infinite, which JSON cannot represent.
            FaultError: a file could not be written.
        """
        config = {**config, **environment()}
        try:
            data = config_bytes(config)
        except ValueError as error:
            raise UsageError(f"{folder}: a setting is not a finite number, which {_CONFIG} cannot hold") from error
        _claim(folder)
        write_whole(folder / _CONFIG, data)
        run = cls(folder, json.loads(data), hashlib.sha256(data).hexdigest())
        run._metrics = Metrics.start(folder / _METRICS)
        return run

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """Open an existing run to read it, or to resume it after `restore`.

        Raises:
            UsageError: the folder does not exist or holds no run, or its `config.json` is not a JSON object.
            FaultError: a file could not be read.
        """
        path = folder / _CONFIG
        try:
            if not folder.is_dir():
                raise UsageError(f"{folder}: {'is a file' if folder.exists() else 'no such folder'}, expected a run")
            if not path.exists():
                raise UsageError(f"{folder}: not a run's folder (it has no {_CONFIG}){hint_at_runs(folder)}")
        except OSError as error:
            raise FaultError(f"{folder}: cannot be read: {error.strerror or error}") from error
        data = read_whole(path, CONFIG_LIMIT)
        return cls(folder, json_object(data, str(path)), hashlib.sha256(data).hexdigest())

    def change_config(self, changes: Mapping[str, Any]) -> None:
        """Replace entries of `config.json`. What was committed so far still belongs to the run.

        Raises:
            FaultError: the file could not be written.
        """
        self._writable()
        config = {**self.config, **changes, _REPLACED: [*self._replaced, self._config_sha256]}
        data = config_bytes(config)
        write_whole(self.folder / _CONFIG, data)
        self.config = json.loads(data)
        self._config_sha256 = hashlib.sha256(data).hexdigest()

    def record(self, row: Mapping[str, Any]) -> None:
        """Append one line to `metrics.jsonl`. It becomes permanent with the next `commit`.

        Raises:
            FaultError: a number in `row` is not finite, which JSON cannot represent, or the file could not be written.
        """
        self._writable().append(row)

    def commit(self, trainer: Mapping[str, Any]) -> None:
        """Save everything so far. After this returns, `restore` returns `trainer`.

        Args:
            trainer: at least these keys, and whatever else the caller needs to resume, as plain data and tensors. The key
                "run" is reserved.
                step: int
                model: the weights at that step, by name
                best: None, or {"step": int, "score": float, "model": weights}. "model" may be left out if the best step is the
                last one and the weights are those of `model`. They are others if an average of the weights was validated.

        Raises:
            TypeError: a value could not be read back; nothing was written.
            ValueError: one of the three keys is missing or of the wrong type.
            FaultError: a file could not be written. Either the last commit or this one holds, completely.
        """
        metrics = self._writable()
        if not is_state(trainer):
            raise ValueError("the state of a trainer requires step, model and best: see Run.commit")
        best = trainer["best"]
        if best is not None and best["step"] == trainer["step"] and same_weights(best, trainer["model"]):
            best = {"step": best["step"], "score": best["score"]}  # not the same weights twice
        state = {**trainer, "best": best, "run": {"config_sha256": self._config_sha256, "metrics": metrics.sync()}}
        save_trainer(self.folder / _TRAINER, state, keep=self.folder / _BEFORE)
        if best is not None and best["step"] != self._model_step:
            self._write_model(with_best_weights(state)["best"])

    def restore(self) -> dict[str, Any] | None:
        """Return the folder to the last commit, and return the committed state with its tensors on the CPU.

        Temporary files of killed writers are removed. `metrics.jsonl` is cut back to the commit. It and `model.safetensors` are
        written again if they are missing, damaged, or not those of the commit. If `trainer.pt` is missing or damaged, the
        previous commit is used. Lines on standard error report damage, and a different version or machine.

        Returns:
            The state given to `commit`; if `best` is not None, it includes its weights. None if nothing was committed: the
            metrics are then empty, and training starts from the beginning.

        Raises:
            UsageError: `trainer.pt` and the previous commit are damaged, missing or of another run, or `config.json` has
                changed since the commit.
            FaultError: a file could not be read or written.
        """
        remove_stale(self.folder, _NAMES)
        if not self.was_committed():
            if os.path.lexists(self.folder / _MODEL):
                raise UsageError(f"{self.folder / _TRAINER}: missing, although {_MODEL} exists: start a new run")
            self._metrics = Metrics.start(self.folder / _METRICS)
            return None
        trainer, name = self._load_trainer()
        if name == _BEFORE:
            write_whole(self.folder / _TRAINER, read_whole(self.folder / _BEFORE))
            print(
                f"{self.folder / _TRAINER}: damaged or missing: resuming from the previous commit, step {trainer['step']}",
                file=sys.stderr,
            )
        if changed := changed_environment(self.config):
            print(f"{self.folder}: resumed with {changed}: the last bits of the results may differ", file=sys.stderr)
        metrics = Metrics.restore(self.folder / _METRICS, trainer.pop("run")["metrics"])
        if trainer["best"] is not None:
            self._repair_model(trainer["best"])
        self._metrics = metrics
        return trainer

    def committed(self) -> dict[str, Any] | None:
        """What `restore` returns, for the other processes of a group: nothing is written.

        Raises:
            UsageError: as for `restore`.
            FaultError: a file could not be read.
        """
        if not self.was_committed():
            return None
        trainer, _ = self._load_trainer()
        return {name: value for name, value in trainer.items() if name != "run"}

    def was_committed(self) -> bool:
        """Whether there is a commit; it may be damaged."""
        return any(os.path.lexists(self.folder / name) for name in (_TRAINER, _BEFORE))

    def metrics(self) -> list[dict[str, Any]]:
        """Return the rows of `metrics.jsonl`, including those after the last commit.

        An incomplete last line is left out: it is being written, or its writer was killed.

        Raises:
            UsageError: the file is missing, or a line is not a JSON object; the message names the line.
            FaultError: the file could not be read.
        """
        return read_metrics(self.folder / _METRICS)

    def best_model(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Return the weights of the best model, on the CPU, and its metadata: step, score, config_sha256.

        They come from `model.safetensors`, or from `trainer.pt` if that is missing or damaged; a line on standard error
        reports damage. Nothing is written, since the run may be training. If a run was killed between the two files, this
        returns the best model of the previous commit until the run is restored.

        Raises:
            UsageError: neither file can be read, no model was committed yet, or the model belongs to another config.
            FaultError: a file could not be read.
        """
        try:
            tensors, metadata = load_model(self.folder / _MODEL)
        except UsageError as damage:
            if not self.was_committed():
                if os.path.lexists(self.folder / _MODEL):
                    raise
                raise UsageError(f"{self.folder}: no model yet (the run ended before its first save)") from damage
            best = self._load_trainer()[0]["best"]
            if best is None:
                raise UsageError(f"{self.folder}: no model yet (the run was not validated so far)") from damage
            self._report_damage(damage, f"using its copy in {_TRAINER}")
            return best["model"], self._model_metadata(best)
        if not self._is_own(metadata.get("config_sha256")):
            raise UsageError(
                f"{self.folder}: {_CONFIG} and {_MODEL} are not of the same run: one was changed or copied"
            )
        return tensors, metadata

    def best_validation(self) -> tuple[int, dict[str, float]]:
        """Return the step of the best model and the figures of its validation.

        Raises:
            UsageError: no model was committed yet, or `metrics.jsonl` lacks that validation.
            FaultError: a file could not be read.
        """
        step = int(self.best_model()[1]["step"])
        rows = [row for row in self.metrics() if row.get("step") == step and "validation_loss" in row]
        if not rows:
            raise UsageError(f"{self.folder / _METRICS}: has no validation of step {step}, the step of the best model")
        return step, {name: value for name, value in rows[-1].items() if name != "step"}

    def write_text(self, name: str, text: str) -> None:
        """Write `curve.svg` or `samples.txt` atomically.

        Raises:
            FaultError: the file could not be written.
        """
        if name not in _TEXTS:
            raise ValueError(f"name should be one of {', '.join(_TEXTS)}, got {name!r}")
        write_whole(self.folder / name, text.encode())

    def _repr_svg_(self) -> str | None:
        """The learning curve, which a notebook shows; None if there is none, or without matplotlib."""
        from hypernetworks.runs.curve import run_curve

        try:
            return run_curve(self) if self.metrics() else None
        except (ImportError, UsageError):
            return None

    @property
    def _replaced(self) -> list[str]:
        """The SHA-256 of each `config.json` that the run had before."""
        found = self.config.get(_REPLACED)
        return found if isinstance(found, list) else []

    def _is_own(self, config_sha256: str | None) -> bool:
        """Whether something was written under a `config.json` of this run."""
        return config_sha256 in (self._config_sha256, *self._replaced)

    def _writable(self) -> Metrics:
        if self._metrics is None:
            raise RuntimeError("an opened run can be written only after restore()")
        return self._metrics

    def _load_trainer(self) -> tuple[dict[str, Any], str]:
        """The last commit that can be read, including the weights of the best model, and the name of its file."""
        try:
            return self._load_state(_TRAINER), _TRAINER
        except UsageError as damage:
            try:
                return self._load_state(_BEFORE), _BEFORE
            except UsageError:
                raise damage from None

    def _load_state(self, name: str) -> dict[str, Any]:
        """The state in a trainer's file, checked to belong to this config."""
        path = self.folder / name
        state = load_trainer(path, ("step", "model", "best", "run"))
        if not (is_state(state) and names_its_run(state)):
            raise UsageError(f"{path}: not the state of a trainer: replace it with a good copy")
        if not self._is_own(state["run"]["config_sha256"]):
            raise UsageError(f"{self.folder}: {_CONFIG} and {name} are not of the same run: one was changed or copied")
        return with_best_weights(state)

    def _repair_model(self, best: Mapping[str, Any]) -> None:
        try:
            found = model_digest(*load_model(self.folder / _MODEL))
        except UsageError as damage:
            self._report_damage(damage, f"restored from {_TRAINER}")
            found = None
        if found == model_digest(best["model"], self._model_metadata(best)):
            self._model_step = best["step"]
        else:
            self._write_model(best)

    def _report_damage(self, damage: UsageError, instead: str) -> None:
        """Report a damaged model. A missing one is not reported: the run may have been killed before it was written."""
        if os.path.lexists(self.folder / _MODEL):
            print(f"{damage}: {instead}", file=sys.stderr)

    def _write_model(self, best: Mapping[str, Any]) -> None:
        save_model(self.folder / _MODEL, best["model"], self._model_metadata(best))
        self._model_step = best["step"]

    def _model_metadata(self, best: Mapping[str, Any]) -> dict[str, str]:
        return {"step": str(best["step"]), "score": repr(best["score"]), "config_sha256": self._config_sha256}


def _claim(folder: Path) -> None:
    """Make the folder of a new run. An existing folder must be empty, except for the lock of its writer."""
    make_folder(folder)
    if os.path.lexists(folder / _CONFIG):
        raise UsageError(f"{folder}: already holds a run: give --resume to continue it, or another --out")
    remove_stale(folder, _NAMES)  # a create that was killed
    check_empty(folder, "give another --out, new or empty", besides=(LOCK,))
