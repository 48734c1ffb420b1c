"""A HyperNetwork as a folder: model.safetensors, and config.json, which describes the generator.

Two files cannot be replaced at once. The metadata of model.safetensors therefore contain the text of config.json, and that file
alone is read; config.json is a copy for people. A call of `save` that is killed leaves the old network or the new one.

No pickle is read or written. The target's code is not stored: to load, an equal target is given.
"""

import hashlib
import json
from collections.abc import Mapping
from glob import escape
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hypernetworks import weights
from hypernetworks.errors import UsageError
from hypernetworks.files import json_object, make_folder, named_folder, read_whole, write_whole
from hypernetworks.weights import Generator, HyperNetwork
from hypernetworks.weights.restored import restored_on_error

CONFIG, MODEL = "config.json", "model.safetensors"
_FORMAT = "hypernetwork 1"
_KNOWN: dict[str, type[nn.Module]] = {
    name: kind
    for name, kind in vars(weights).items()
    if name in weights.__all__
    and isinstance(kind, type)
    and (issubclass(kind, Generator) or name.endswith("Encoder"))
    and kind is not Generator
}
"""The classes that config.json can describe: constructor arguments are attributes of the same names."""


def save(net: HyperNetwork, folder: str | Path, *, with_target: bool = True) -> None:
    """Write a hypernetwork to a folder, from which `load` reads it.

    Args:
        net: of any target and generator.
        folder: it is made if it does not exist; its files model.safetensors and config.json are replaced. The first contains
            the text of the second, so that a folder is never half old and half new.
        with_target: whether the target's parameters and buffers are stored, too. Without them the folder of a generator on a
            large frozen target is small; `load` then takes the values of the target that it is given.

    Raises:
        TypeError: `net` is not a HyperNetwork.
        UsageError, FaultError: the folder cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> net = hn.HyperNetwork(torch.nn.Linear(3, 2), hn.FullGenerator(condition_size=4))
        >>> with TemporaryDirectory() as folder:
        ...     hn.save(net, folder)
        ...     again = hn.load(folder, torch.nn.Linear(3, 2))
        >>> x, condition = torch.randn(5, 3), torch.randn(4)
        >>> torch.equal(net(x, condition=condition), again(x, condition=condition))
        True
    """
    from hypernetworks.runs.checkpoint import save_model

    if not isinstance(net, HyperNetwork):
        raise TypeError(f"net should be a HyperNetwork, got {type(net).__name__}")
    place = named_folder(folder)
    config = {
        "format": _FORMAT,
        "target": type(net.target).__name__,
        "with_target": with_target,
        "generated": {name: list(net.target.get_parameter(name).shape) for name in net.generator.names},
        "generator": _described(net.generator),
    }
    text = json.dumps(config, indent=2) + "\n"
    state = net.state_dict()
    if not with_target:
        state = {name: tensor for name, tensor in state.items() if name.startswith("generator.")}
    make_folder(place)
    save_model(place / MODEL, state, {CONFIG: text})
    write_whole(place / CONFIG, text.encode())


def load(folder: str | Path, target: nn.Module, *, generator: Generator | None = None) -> HyperNetwork:
    """Read a hypernetwork that `save` wrote, as `hypernetworks.load` does, which describes the arguments and the errors."""
    from hypernetworks.runs.checkpoint import load_model

    place = Path(folder)
    state, metadata = load_model(place / MODEL)
    config = _config(metadata, place)
    if not isinstance(target, nn.Module):
        raise TypeError(f"target should be a torch.nn.Module, got {type(target).__name__}")
    _check_target(config["generated"], target, place)
    if generator is None:
        generator = _generator(config["generator"], place)
    elif type(generator).__name__ != config["generator"]["class"]:
        raise ValueError(f"{place} has a {config['generator']['class']}, got generator={type(generator).__name__}")
    with restored_on_error(target, generator):
        net = HyperNetwork(target, generator, [escape(name) for name in config["generated"]])
        _fill(net, state, config["with_target"], place)
    return net


def _config(metadata: Mapping[str, str], place: Path) -> dict[str, Any]:
    """What the metadata of the model say of the generator, or in older folders config.json, whose digest they have.

    Raises:
        UsageError: there is no such description, or it is of another format.
    """
    text, source = metadata.get(CONFIG, "").encode(), place / MODEL
    if CONFIG not in metadata:
        source = place / CONFIG
        text = read_whole(source, limit=100_000_000)
        if metadata.get("config") != hashlib.sha256(text).hexdigest():
            raise UsageError(f"{place}: {CONFIG} and {MODEL} are not from the same call of hypernetworks.save")
    config = json_object(text, str(source))
    if config.get("format") != _FORMAT:
        raise UsageError(f"{source}: format is {config.get('format')!r}, expected {_FORMAT!r}")
    return config


def _fill(net: HyperNetwork, state: Mapping[str, Tensor], with_target: bool, place: Path) -> None:
    """Load the tensors. The generator takes their dtype, the target keeps its own."""
    own = {name: t for name, t in net.state_dict().items() if with_target or name.startswith("generator.")}
    if odd := sorted(own.keys() ^ state.keys()):
        raise ValueError(f"{place} does not fit this target and generator: only one of them has {_few(odd)}")
    if odd := [
        f"{n} {tuple(state[n].shape)} (here {tuple(own[n].shape)})" for n in own if own[n].shape != state[n].shape
    ]:
        raise ValueError(f"{place} does not fit this target and generator: {_few(odd)}")
    first = next((name for name, _ in net.generator.named_parameters()), None)
    if first is not None:
        net.generator.to(state[f"generator.{first}"].dtype)
    net.load_state_dict(state, strict=with_target)


def _check_target(generated: Mapping[str, list[int]], target: nn.Module, place: Path) -> None:
    own = {name: list(parameter.shape) for name, parameter in target.named_parameters()}
    odd = [
        f"{name} {tuple(shape)} (here {tuple(own[name]) if name in own else 'missing'})"
        for name, shape in generated.items()
        if own.get(name) != shape
    ]
    if odd:
        raise ValueError(f"{place} generates weights of another target than this {type(target).__name__}: {_few(odd)}")


def _described(thing: Any) -> Any:
    """A generator, an encoder or a setting as JSON. A module is {"class", "settings"}, or {"class"} if its class is unknown."""
    if isinstance(thing, nn.ModuleList | list | tuple):
        return [_described(each) for each in thing]
    if isinstance(thing, Mapping):
        return {"pairs": [[_described(key), _described(value)] for key, value in thing.items()]}
    if not isinstance(thing, nn.Module):
        return thing
    kind = type(thing)
    if _KNOWN.get(kind.__name__) is not kind:
        return {"class": kind.__name__}
    arguments = list(signature(kind).parameters)
    return {"class": kind.__name__, "settings": {name: _described(getattr(thing, name)) for name in arguments}}


def _generator(config: Mapping[str, Any], place: Path) -> Generator:
    made = _rebuilt(config, place)
    if not isinstance(made, Generator):
        raise UsageError(f"{place}: {config['class']} is not a generator")
    return made


def _rebuilt(thing: Any, place: Path) -> Any:
    """The reverse of `_described`."""
    if isinstance(thing, list):
        return tuple(_rebuilt(each, place) for each in thing)
    if not isinstance(thing, dict):
        return thing
    if "pairs" in thing:
        return dict(_rebuilt(thing["pairs"], place))
    kind = _KNOWN.get(thing["class"])
    if kind is None or "settings" not in thing:
        raise ValueError(
            f"{place} has a {thing['class']}, which is not part of this library: give load(..., generator=...)"
        )
    settings = {name: _rebuilt(value, place) for name, value in thing["settings"].items()}
    arguments = signature(kind).parameters
    if any(argument.kind is Parameter.VAR_POSITIONAL for argument in arguments.values()):
        (several,) = settings.values()
        return kind(*several)
    return kind(**settings)


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
