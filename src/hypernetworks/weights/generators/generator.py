"""The base class of generators, which map a condition c and the target's own weights to generated weights.

    W = g(c, W_target)            c (C,): one set, W of the target's shape; c (B, C): one set per sample, W (B, *shape)

Generators can be composed: applied in sequence (`GeneratorChain`), or each to its own part of the target (`GeneratorSplit`).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from hypernetworks.weights.forms import Form, Full
from hypernetworks.weights.generators.factors import Factors
from hypernetworks.weights.restored import restored_on_error
from hypernetworks.weights.selection import TargetWeight


class Generator(nn.Module, ABC):
    """Generates weights. It is constructed with its own settings; `HyperNetwork` then binds it to the target's weights.

    A subclass implements `build(weights)`, which makes its parameters once the target's tensors are known, and
    `forward(condition, base) -> {name: tensor}`. The condition is (C,) or (B, C), or None if `condition_size` is None; `base`
    has the target's own tensors by name. A generated tensor has the target's shape, preceded by B for a condition (B, C). One
    that is the same for all samples may lack B, but not all may.

    Example:
        >>> class Shift(hn.Generator):
        ...     condition_size = 1
        ...     def build(self, weights):
        ...         self.step = torch.nn.Parameter(torch.tensor(0.1))
        ...     def uses_base(self, name):
        ...         return True
        ...     def forward(self, condition, base):
        ...         assert condition.dim() == 1     # one set of weights
        ...         return {name: base[name] + self.step * condition for name in self.names}
        >>> net = hn.HyperNetwork(torch.nn.Linear(3, 2), Shift())
        >>> net(torch.zeros(4, 3), condition=torch.ones(1)).shape
        torch.Size([4, 2])
    """

    condition_size: int | None = None
    """C, or None for a generator that takes no condition."""

    def __init__(self) -> None:
        super().__init__()
        self.names: tuple[str, ...] = ()
        """The names of the generated tensors; empty until the generator is bound."""
        self._first: tuple[nn.Module, str] | None = (
            None  # where a parameter is that has the generator's dtype and device
        )

    def bind(self, weights: Sequence[TargetWeight]) -> None:
        """Make the parameters for these weights.

        `build` gets the target's values in one dtype, the widest of theirs and at least float32. A generator for a target in
        bfloat16 therefore computes in float32. To change that, convert it: ``net.generator.to(torch.bfloat16)``.

        Raises:
            ValueError: the generator is already bound, it cannot generate one of the weights, or the weights are on different
                devices. The generator stays as it was.
        """
        if self.names:
            raise ValueError(f"this {type(self).__name__} is already bound to a target: make another one")
        _check_devices(weights)
        dtype = reduce(torch.promote_types, (weight.value.dtype for weight in weights), torch.float32)
        with restored_on_error(self):  # a generator that consists of others may have bound some of them
            self.build([weight._replace(value=_converted(weight.value, dtype)) for weight in weights])
        self.names = tuple(weight.name for weight in weights)
        places = ((module, name) for module in self.modules() for name, _ in module.named_parameters(recurse=False))
        self._first = next(places, None)

    def __call__(self, condition: Tensor | None, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Generate the weights for a condition, each in the dtype of the target's own tensor.

        Raises:
            ValueError: as `prepare`.
        """
        made = super().__call__(*self.prepare(condition, base))
        for name, tensor in made.items():
            if name in base and tensor.dtype != base[name].dtype:
                made[name] = tensor.to(base[name].dtype)
        return made

    def prepare(
        self, condition: Tensor | None, base: Mapping[str, Tensor]
    ) -> tuple[Tensor | None, Mapping[str, Tensor]]:
        """The arguments of `forward` in the dtype of the generator's parameters; tensors of the target only if they are used.

        Raises:
            ValueError: the generator is not bound, or the condition has another dtype or device than its parameters.
        """
        if not self.names:
            name = type(self).__name__
            raise ValueError(f"this {name} is not bound to a target: pass it to HyperNetwork(target, generator) first")
        if self._first is None:
            return condition, base
        module, name = self._first
        own = getattr(module, name)
        if condition is not None:
            condition = self._checked(condition, own)
        dtype = own.dtype
        if all(tensor.dtype == dtype for tensor in base.values()):
            return condition, base
        return condition, {
            key: tensor if tensor.dtype == dtype or not self.uses_base(key) else tensor.to(dtype)
            for key, tensor in base.items()
        }

    def _checked(self, condition: Tensor, own: Tensor) -> Tensor:
        """The condition, if it has the dtype and device of the generator's own parameter. Half precision is converted."""
        name = type(self).__name__
        if condition.device != own.device:
            raise ValueError(f"condition is on {condition.device}, but {name} is on {own.device}: move one of them")
        if condition.dtype == own.dtype:
            return condition
        if condition.dtype in (torch.bfloat16, torch.float16):
            return condition.to(own.dtype)
        # autocast casts everything but float64
        if torch.is_autocast_enabled(own.device.type) and torch.float64 not in (condition.dtype, own.dtype):
            return condition
        raise ValueError(
            f"condition has dtype {condition.dtype}, but {name} has {own.dtype}: convert one of them with .to(dtype)"
        )

    def leaves(self, weight: TargetWeight) -> bool:
        """Whether to leave a selected parameter unchanged, because this generator does not generate its kind."""
        return False

    def trains_base(self, name: str) -> bool:
        """Whether the target's own tensor of this name stays trainable, if it is."""
        return False

    def uses_base(self, name: str) -> bool:
        """Whether the generated tensor depends on the target's own tensor of this name."""
        return self.trains_base(name)

    def factors(self, condition: Tensor | None) -> dict[str, Factors]:
        """The low-rank matrices that are added to the target's, in factors, by name.

        Raises:
            TypeError: the generator makes no low-rank matrices.
        """
        raise TypeError(f"{type(self).__name__} makes no low-rank factors: use a LowRankGenerator")

    def forms(self, condition: Tensor, base: Mapping[str, Tensor]) -> dict[str, Form | Tensor]:
        """What a call returns for a condition (B, C), in forms that need not be made. What has no B is a tensor.

        Raises:
            ValueError: as `prepare`.
        """
        prepared, own = self.prepare(condition, base)
        assert prepared is not None
        forms = self.make_forms(prepared, own)
        return {name: form.to(base[name].dtype) if name in base else form for name, form in forms.items()}

    def make_forms(self, condition: Tensor, base: Mapping[str, Tensor]) -> dict[str, Form | Tensor]:
        """The forms of what `forward` returns. A generator whose tensors have a form that saves work overrides this method."""
        made = super().__call__(condition, base)
        return {
            name: Full(tensor) if name in base and tensor.dim() > base[name].dim() else tensor
            for name, tensor in made.items()
        }

    @abstractmethod
    def build(self, weights: Sequence[TargetWeight]) -> None:
        """Make the generator's parameters for these weights."""

    @abstractmethod
    def forward(self, condition: Tensor | None, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Generate the weights for a condition."""


def check_generator(generator: object) -> None:
    """Check that it is a generator."""
    if not isinstance(generator, Generator):
        raise TypeError(f"a generator should be a hypernetworks.Generator, got {type(generator).__name__}")


def _check_devices(weights: Sequence[TargetWeight]) -> None:
    """Check that all weights are on one device."""
    places: dict[torch.device, str] = {}
    for weight in weights:
        places.setdefault(weight.value.device, weight.name)
    if len(places) > 1:
        listed = ", ".join(f"{name} on {device}" for device, name in places.items())
        raise ValueError(
            f"the generated parameters should be on one device, got {listed}: move the target, or select fewer"
        )


def _converted(value: Tensor, dtype: torch.dtype) -> Tensor:
    """The value in a dtype; its requires_grad still says whether the target trains it."""
    return value if value.dtype == dtype else value.detach().to(dtype).requires_grad_(value.requires_grad)
