"""HyperNetwork: a target whose parameters, or some of them, a generator makes from a condition.

    W = g(c, W_target),  y = f(x; W, θ)          θ: the parameters of the target f that are not generated

    c (C,)       one set of weights for the whole batch
    c (B, C)     one set per sample: y_n = f(x_n; g(c_n, W_target), θ), see `per_sample.py`

The target is called by torch.func.functional_call with the generated tensors in place of its own. Nothing is written into it.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..torch_compat import is_exporting
from .generator import Generator
from .per_sample import run_per_sample
from .report import WeightReport, report
from .selection import Modules, select, with_partners


class HyperNetwork(nn.Module):
    """Any module, with parameters made by a generator: y = f(x; W, θ), W = g(c, W_target).

        net = hn.HyperNetwork(target, hn.FullGenerator(condition_size=8))
        y = net(x, condition=c)        # c (8,): one set of weights; c (B, 8): one set for each of the B samples of x

    With a condition (B, C) every tensor given to the target, and every tensor of its answer, has the samples in dimension 0
    (in a bare torch.nn.LSTM, GRU or RNN, or recurrent network of this library: where that has its batch). BatchNorm normalises
    over all samples together and updates its running statistics once; dropout draws for each sample.

    torch.compile takes it as one graph. With torch 2.13's inductor on the CPU, training convolutions per sample needs
    options={"layout_optimization": False}: with that optimisation on, it gets gradients of the kernels wrong:
    docs/development/log.md.

    Args:
        target: the module f. It is held, not copied: `net.target` is it. Its generated parameters stay in it with the values
            they had and stop being learned (requires_grad False), unless the generator acts on them (`LowRankGenerator`,
            `RowScaleGenerator`); all others are as they were, learned or frozen. A forward that fails leaves the target,
            running statistics included, exactly as it was.
        generator: makes the weights; it is bound to this target, so each needs its own.
        modules: which parameters are generated: None for all; a module type or a tuple of types, for all parameters in
            modules of these; a glob over the names of parameters or of the modules that hold them (``"layer2.*"``,
            ``"*.weight"``); or a predicate (name of the module, module) or (name, module, name of the parameter in it) -> bool.

    Source: HyperNetworks, arXiv 1609.09106.
    Errors: ValueError for a selection of nothing, a generator that cannot make what is selected or is bound already, a
    condition that is missing, not wanted, of a wrong size or of another batch than the input, and for a target whose parameters
    were replaced, reshaped, added or removed since; TypeError for what is no module, generator, selection or tensor.
    """

    def __init__(self, target: nn.Module, generator: Generator, modules: Modules = None) -> None:
        super().__init__()
        if not isinstance(target, nn.Module):
            raise TypeError(f"target should be a torch.nn.Module, got {type(target).__name__}")
        if not isinstance(generator, Generator):
            raise TypeError(f"generator should be a hypernetworks.Generator, got {type(generator).__name__}")
        selected = select(target, modules)
        weights = with_partners([weight for weight in selected if not generator.leaves(weight)])
        if not weights:
            names = ", ".join(weight.name for weight in selected)
            raise ValueError(f"{type(generator).__name__} makes none of the selected parameters: {names}")
        generator.bind(weights)
        for weight in weights:
            if not generator.trains_base(weight.name):
                weight.value.requires_grad_(False)
        self.target = target
        self.generator = generator
        self._names = tuple(weight.name for weight in weights)
        self._remember()
        self.register_load_state_dict_post_hook(_remember_again)

    def forward(self, *args: Any, condition: Tensor | None = None, **kwargs: Any) -> Any:
        """The target's answer to the arguments, with weights made from the condition, (C,), (B, C), or none."""
        weights = self.generate(condition)
        # the running statistics of modules that train are copies until the target has answered
        live = self._live_buffers()
        buffers = {name: buffer.clone() for name, buffer in live.items()}
        if condition is not None and condition.dim() == 2:
            answer = run_per_sample(self.target, weights, buffers, condition.shape[0], args, kwargs)
        else:
            answer = functional_call(self.target, weights | buffers, args, kwargs)
        with torch.no_grad():
            for name, buffer in live.items():
                buffer.copy_(buffers[name])
        return answer

    def generate(self, condition: Tensor | None = None) -> dict[str, Tensor]:
        """The generated tensors by their names in the target; each has B before its shape for a condition (B, C)."""
        self._check_target()
        self._check_condition(condition)
        return self.generator(condition, self._own())

    def weight_report(self, condition: Tensor | None = None) -> WeightReport:
        """Variance of each generated tensor, parameter counts and compression, see `WeightReport`.

        condition: (C,) or (B, C); left out, 64 draws from N(0, 1), always the same.
        """
        return report(self, condition)

    def _live_buffers(self) -> dict[str, Tensor]:
        """The buffers of those modules of the target that are in training mode."""
        return {
            f"{prefix}.{name}" if prefix else name: buffer
            for prefix, module in self.target.named_modules()
            if module.training
            for name, buffer in module.named_buffers(recurse=False)
        }

    def _check_condition(self, condition: Tensor | None) -> None:
        size, name = self.generator.condition_size, type(self.generator).__name__
        if size is None:
            if condition is not None:
                raise ValueError(f"{name} takes no condition, got one")
            return
        expected = f"({size},) or (batch, {size})"
        if condition is None:
            raise ValueError(f"condition is missing: {name} needs one of shape {expected}")
        if not isinstance(condition, Tensor):
            raise TypeError(f"condition should be a tensor of shape {expected}, got {type(condition).__name__}")
        if condition.dim() not in (1, 2) or condition.shape[-1] != size:
            raise ValueError(f"condition should have shape {expected}, got {tuple(condition.shape)}")

    def _remember(self) -> None:
        """Note which parameters the target has."""
        self._all_names = tuple(name for name, _ in self.target.named_parameters())
        self._originals = [self.target.get_parameter(name) for name in self._names]
        self._shapes = [tuple(original.shape) for original in self._originals]

    def _own(self) -> dict[str, Tensor]:
        """The target's own tensors of the generated names."""
        found = dict(self.target.named_parameters())
        return {name: found[name] for name in self._names}

    def _check_target(self) -> None:
        """The target has the parameters that it had, and those that are generated are the same."""
        now = dict(self.target.named_parameters())
        changed = "the target has changed since it was wrapped"
        if tuple(now) != self._all_names:
            added = [name for name in now if name not in self._all_names]
            removed = [name for name in self._all_names if name not in now]
            raise ValueError(f"{changed}: added {added}, removed {removed}: wrap it again")
        for name, original, shape in zip(self._names, self._originals, self._shapes, strict=True):
            if tuple(now[name].shape) != shape:
                raise ValueError(f"{changed}: {name} was {shape}, is {tuple(now[name].shape)}: wrap it again")
            # torch.func.functional_call puts in tensors that are no Parameters, and torch.export puts in stand-ins
            stands_in = is_exporting() or not isinstance(now[name], nn.Parameter)
            if now[name] is not original and not stands_in:
                raise ValueError(f"{changed}: {name} was replaced: wrap it again")

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """As in nn.Module; moving to some devices replaces parameters, and that is no change of the target."""
        self._check_target()
        done = super()._apply(fn, recurse)
        self._remember()
        return done


def _remember_again(net: nn.Module, keys: Any) -> None:
    """Loading with assign=True replaces parameters; that is no change of the target."""
    assert isinstance(net, HyperNetwork)
    net._remember()
