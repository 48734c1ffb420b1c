"""LoRA adapters of Hugging Face's PEFT: out of a hypernetwork, and in as targets to imitate.

A folder has adapter_config.json and adapter_model.safetensors. Tensors of a module `m`, with ΔW = (α / r) B A:

    base_model.model.m.lora_A.weight             (r, n_in), in convolutions (r, n_in, *f)
    base_model.model.m.lora_B.weight             (n_out, r), in convolutions (n_out, r, 1, ...)
    base_model.model.m.lora_embedding_A, _B      (r, tokens), (size, r): those of the transposed table
"""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hypernetworks.errors import UsageError
from hypernetworks.files import json_object, make_folder, named_folder, read_whole, write_whole
from hypernetworks.weights import Factors, HyperNetwork
from hypernetworks.weights.selection import TargetWeight, select

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_KEY = re.compile(
    r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?:(?P<factor>[AB])\.weight|embedding_(?P<table>[AB]))"
)


@torch.no_grad()
def save_peft(net: HyperNetwork, condition: Tensor, folder: str | Path, base_model: str | None = None) -> None:
    """Write the LoRA that a condition generates as a PEFT adapter for `net.target`.

    ``peft.PeftModel.from_pretrained(model, folder)`` loads it, where `model` is an equal of the target.

    Args:
        net: its generator makes low-rank matrices: a `LowRankGenerator`, for instance.
        condition: (C,), that of one adapter.
        folder: where the two files are written. It is made if it does not exist.
        base_model: the name of the target for PEFT's configuration, for instance "gpt2". The default is none.

    Raises:
        ValueError: the condition is not one vector, a generated tensor is not a low-rank matrix, or PEFT has no LoRA for its
            module: it has for Linear, Embedding, convolutions without groups, and transformers' Conv1D.
        TypeError: `net` is not a HyperNetwork, or its generator makes no factors.
        UsageError, FaultError: the folder cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> target = torch.nn.Sequential(torch.nn.Linear(3, 2))
        >>> net = hn.HyperNetwork(target, hn.LowRankGenerator(condition_size=4, rank=1), modules="*.weight")
        >>> with TemporaryDirectory() as folder:
        ...     hn.interop.save_peft(net, torch.randn(4), folder)
        ...     sorted(hn.interop.load_peft(folder))
        ['0.weight']
    """
    import safetensors.torch

    if not isinstance(net, HyperNetwork):
        raise TypeError(f"net should be a HyperNetwork, got {type(net).__name__}")
    place = named_folder(folder)
    if not isinstance(condition, Tensor) or condition.dim() != 1:
        shape = tuple(condition.shape) if isinstance(condition, Tensor) else type(condition).__name__
        raise ValueError(f"condition should be one vector, (C,), for one adapter, got {shape}")
    factors = net.generator.factors(condition)
    if others := [name for name in net.generator.names if name not in factors]:
        raise ValueError(
            f"{', '.join(others)} cannot be part of a LoRA: generate matrices alone, for instance with modules='*.weight'"
        )
    chosen = {weight.name: weight for weight in select(net.target, None) if weight.name in factors}
    tensors: dict[str, Tensor] = {}
    for name, weight in chosen.items():
        for key, tensor in _theirs(factors[name], weight, net.target).items():
            tensors[_PREFIX + key] = tensor.cpu().contiguous()
    config = _config(factors, chosen, net.target, base_model)
    make_folder(place)
    write_whole(place / TENSORS, safetensors.torch.save(tensors, {"format": "pt"}))
    write_whole(place / CONFIG, (json.dumps(config, indent=2) + "\n").encode())


def load_peft(folder: str | Path) -> dict[str, Factors]:
    """Read a PEFT LoRA adapter as factors, by the names of the weights in the model that it adapts.

    The factors are those that a `LowRankGenerator` makes for this model: see `reconstruction_loss` for how to imitate them.

    Args:
        folder: with adapter_config.json and adapter_model.safetensors.

    Raises:
        UsageError: a file is missing or damaged, a value in adapter_config.json is impossible or contradicts the tensors, or
            the adapter is more than a LoRA: another method, DoRA, trained biases, modules saved as a whole.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> target = torch.nn.Sequential(torch.nn.Linear(3, 2))
        >>> net = hn.HyperNetwork(target, hn.LowRankGenerator(condition_size=4, rank=1), modules="*.weight")
        >>> with TemporaryDirectory() as folder:
        ...     hn.interop.save_peft(net, torch.randn(4), folder)
        ...     factors = hn.interop.load_peft(folder)
        >>> factors["0.weight"].product().shape
        torch.Size([2, 3])
    """
    place = Path(folder)
    config = json_object(read_whole(place / CONFIG, limit=10_000_000), str(place / CONFIG))
    _check_config(config, place / CONFIG)
    parts: dict[str, dict[str, Tensor]] = {}
    tables = set()
    for key, tensor in _read(place / TENSORS).items():
        found = _KEY.fullmatch(key)
        if not found:
            raise UsageError(
                f"{place / TENSORS}: {key} is not a factor of a LoRA, so this adapter cannot be read as one"
            )
        parts.setdefault(found["module"], {})[found["factor"] or found["table"]] = tensor
        if found["table"]:
            tables.add(found["module"])
    factors = {}
    for module, part in parts.items():
        if (
            part.keys() != {"A", "B"}
            or min(part["A"].dim(), part["B"].dim()) < 2
            or len(part["A"]) != part["B"].shape[1]
        ):
            raise UsageError(f"{place / TENSORS}: the factors of {module} do not fit together")
        A, B = part["A"].flatten(1), part["B"].flatten(1)
        rank = _of_module(config, "r", "rank_pattern", module, len(A))
        if rank != len(A):
            raise UsageError(f"{place / CONFIG}: r is {rank} for {module}, but its factors have rank {len(A)}")
        scale = _scale(config, module, len(A))
        factors[f"{module}.weight"] = Factors(B.mT, A.mT, scale) if module in tables else Factors(A, B, scale)
    if not factors:
        raise UsageError(f"{place / TENSORS}: has no tensors")
    return factors


def _theirs(factors: Factors, weight: TargetWeight, target: nn.Module) -> dict[str, Tensor]:
    """The factors of one weight under PEFT's names, without the prefix."""
    A, B, _ = factors
    module, name = weight.module, weight.module_name
    holder = target.get_submodule(name.rpartition(".")[0])
    known = isinstance(module, nn.Linear | nn.Embedding) or _is_gpt2_layer(module)
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        known = module.groups == 1
    # torch.nn.MultiheadAttention reads the weight of its out_proj without calling it
    if not known or weight.own_name != "weight" or not name or isinstance(holder, nn.MultiheadAttention):
        raise ValueError(f"PEFT has no LoRA for {weight.name} of a {type(module).__name__}: generate others")
    if weight.ties:
        raise ValueError(f"{weight.name} is tied to {weight.ties[0][0]}, which PEFT would not adapt: generate others")
    if isinstance(module, nn.Embedding):
        return {f"{name}.lora_embedding_A": B.mT, f"{name}.lora_embedding_B": A.mT}
    field = weight.shape[2:]
    A, B = A.reshape(len(A), -1, *field), B.reshape(*B.shape, *(1 for _ in field))
    return {f"{name}.lora_A.weight": A, f"{name}.lora_B.weight": B}


def _config(
    factors: Mapping[str, Factors], chosen: Mapping[str, TargetWeight], target: nn.Module, base_model: str | None
) -> dict[str, Any]:
    """PEFT's configuration."""
    # rank and alpha = s r of each module
    sizes = {}
    for name, weight in chosen.items():
        rank = len(factors[name].A)
        sizes[weight.module_name] = (rank, factors[name].scale * rank)
    (rank, alpha), _ = Counter(sizes.values()).most_common(1)[0]
    odd = {f"^{re.escape(module)}": size for module, size in sizes.items() if size != (rank, alpha)}
    return {
        "peft_type": "LORA",
        "base_model_name_or_path": base_model,
        "task_type": None,
        "inference_mode": True,
        "bias": "none",
        "fan_in_fan_out": any(_is_gpt2_layer(weight.module) for weight in chosen.values()),
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {pattern: size[0] for pattern, size in odd.items()},
        "alpha_pattern": {pattern: size[1] for pattern, size in odd.items()},
        "lora_dropout": 0.0,
        "target_modules": _pattern(list(sizes), target),
    }


def _pattern(modules: list[str], target: nn.Module) -> list[str] | str:
    """The modules as PEFT's target_modules: a list, in which each also means all names that end in it, or an expression."""
    meant = [name for name, _ in target.named_modules() if any(f".{name}".endswith(f".{module}") for module in modules)]
    return modules if set(meant) == set(modules) else "|".join(map(re.escape, modules))


def _check_config(config: Mapping[str, Any], place: Path) -> None:
    if config.get("peft_type") != "LORA":
        raise UsageError(f"{place}: peft_type is {config.get('peft_type')!r}, and only 'LORA' can be read")
    more = [key for key in ("use_dora", "modules_to_save", "lora_bias", "target_parameters") if config.get(key)]
    if config.get("bias", "none") != "none":
        more.append("bias")
    if more:
        raise UsageError(f"{place}: {', '.join(more)}: the adapter is more than low-rank matrices")
    _check_value(config.get("r", 1), "r", place, whole=True)
    _check_value(config.get("lora_alpha", 1), "lora_alpha", place)
    for key in ("rank_pattern", "alpha_pattern"):
        patterns = config.get(key) or {}
        if not isinstance(patterns, dict):
            raise UsageError(f"{place}: {key} should be an object, got {patterns!r}")
        for pattern, value in patterns.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise UsageError(f"{place}: {key} has {pattern!r}, which is no regular expression ({error})") from error
            _check_value(value, f"{key}[{pattern!r}]", place, whole=key == "rank_pattern")
    if not isinstance(config.get("use_rslora") or False, bool):
        raise UsageError(f"{place}: use_rslora should be true or false, got {config['use_rslora']!r}")


def _check_value(value: Any, name: str, place: Path, whole: bool = False) -> None:
    """UsageError unless a value is a finite number, or with `whole` a whole one of at least 1."""
    number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or (whole and value < 1):
        wanted = "a whole number of at least 1" if whole else "a finite number"
        raise UsageError(f"{place}: {name} should be {wanted}, got {value!r}")


def _of_module(config: Mapping[str, Any], key: str, patterns: str, module: str, default: float) -> float:
    """A value of a module: that of the first pattern that its name matches, else the common one."""
    for pattern, own in (config.get(patterns) or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return own
    return config.get(key, default)


def _scale(config: Mapping[str, Any], module: str, rank: int) -> float:
    """α / r of a module, or α / √r with use_rslora."""
    divisor = rank**0.5 if config.get("use_rslora") else rank
    return _of_module(config, "lora_alpha", "alpha_pattern", module, 8) / divisor


def _read(path: Path) -> dict[str, Tensor]:
    import safetensors.torch

    data = read_whole(path)
    try:
        return safetensors.torch.load(data)
    except (safetensors.SafetensorError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"{path}: not a whole safetensors file ({str(error)[:120]})") from error


def _is_gpt2_layer(module: nn.Module) -> bool:
    return "Conv1D" in [
        kind.__name__ for kind in type(module).__mro__ if kind.__module__ == "transformers.pytorch_utils"
    ]
