"""One call that loads what a folder holds: a trained run, or a HyperNetwork that was saved."""

from pathlib import Path
from typing import TYPE_CHECKING, overload

from torch import nn

from hypernetworks import saving
from hypernetworks.errors import FaultError, UsageError
from hypernetworks.files import json_object, named_folder, read_whole
from hypernetworks.weights import Generator, HyperNetwork

if TYPE_CHECKING:
    from hypernetworks.text.trained import TrainedText

_CONFIG, _METRICS = "config.json", "metrics.jsonl"
_CONFIG_LIMIT = 100_000_000


@overload
def load(folder: str | Path) -> "TrainedText": ...


@overload
def load(folder: str | Path, target: nn.Module, *, generator: Generator | None = None) -> HyperNetwork: ...


def load(
    folder: str | Path, target: nn.Module | None = None, *, generator: Generator | None = None
) -> "TrainedText | HyperNetwork":
    """Load a trained text model from its run, or a HyperNetwork that `save` wrote.

        model = hn.load("runs/first")                      # a run of `hypernetworks text train`: a TrainedText
        model = hn.load("my-model")                        # the same, of TrainedText.save_pretrained
        net = hn.load("runs/my-hypernetwork", target)      # of hn.save: a HyperNetwork

    Args:
        folder: a run of the text experiment, a folder of `TrainedText.save_pretrained`, or one with the model.safetensors of
            `save`.
        target: for a HyperNetwork, an equal of the saved target, of any dtype and on any device. Its values are replaced if
            they were saved. A run needs none.
        generator: for a HyperNetwork, an unbound generator with the settings of the saved one. It is needed if the generator,
            or an encoder in it, is of a class of your own.

    Returns:
        A `hypernetworks.text.TrainedText` or a `HyperNetwork`.

    Raises:
        UsageError: the folder holds neither, or a file is missing or damaged.
        ValueError: the target has other parameters than the saved one, or the generator is not the saved one.
        TypeError: an argument has the wrong type, or does not belong to what the folder holds.

    After an error, `target` and `generator` are as they were.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> net = hn.HyperNetwork(torch.nn.Linear(3, 2), hn.FullGenerator(condition_size=4))
        >>> with TemporaryDirectory() as folder:
        ...     hn.save(net, folder)
        ...     again = hn.load(folder, torch.nn.Linear(3, 2))
        >>> again.weight_report().generated
        8
    """
    place = named_folder(folder)
    experiment = _experiment_of_run(place)
    if experiment is None:
        if target is None:
            raise _needs_target(place)
        return saving.load(place, target, generator=generator)
    if target is not None or generator is not None:
        raise TypeError(f"{place} is a run, which is loaded without a target and a generator: load({str(place)!r})")
    if experiment != "text":
        raise UsageError(
            f"{place}: a run of hypernetworks {experiment}: load it with hypernetworks.{experiment}.load_run"
        )
    from hypernetworks.text.trained import TrainedText  # only now, since the networks alone do not need it

    return TrainedText.from_run(place)


def _experiment_of_run(place: Path) -> str | None:
    """The experiment of the run in a folder; None if the folder holds a saved HyperNetwork.

    Raises:
        UsageError: it holds neither.
    """
    try:
        if not place.is_dir():
            found = "is a file" if place.exists() else "no such folder"
            raise UsageError(f"{place}: {found}, expected a run, or a HyperNetwork of hypernetworks.save")
        if not (place / _CONFIG).exists():
            if (place / saving.MODEL).exists():
                return None
            from hypernetworks.runs.run import hint_at_runs  # only now, since the networks alone do not need it

            hint = hint_at_runs(place)
            raise UsageError(f"{place}: holds neither a run nor a HyperNetwork of hypernetworks.save{hint}")
        is_run = (place / _METRICS).exists()
    except OSError as error:
        raise FaultError(f"{place}: cannot be read: {error.strerror or error}") from error
    try:
        return json_object(read_whole(place / _CONFIG, _CONFIG_LIMIT), str(place / _CONFIG)).get("experiment")
    except UsageError:
        if is_run:
            raise
        return None  # the config.json of a HyperNetwork is a copy for people


def _needs_target(place: Path) -> TypeError:
    """The error for a HyperNetwork without a target; UsageError if the folder's model is not one."""
    from hypernetworks.runs.checkpoint import load_model

    if "config_sha256" in load_model(place / saving.MODEL)[1]:
        raise UsageError(f"{place}: has the model of a run, but no {_CONFIG} that describes it")
    return TypeError(
        f"{place} has a HyperNetwork: give a target that equals the saved one, load({str(place)!r}, target)"
    )
