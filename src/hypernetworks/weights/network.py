"""HyperNetwork: a target, some or all of whose parameters a generator makes from a condition.

    W = g(c, W_target),  y = f(x; W, θ)          θ: the parameters of the target f that are not generated

    c (C,)       one set of weights for the whole batch
    c (B, C)     one set per sample: y_n = f(x_n; g(c_n, W_target), θ), see `per_sample.py`

torch.func.functional_call runs the target with the generated tensors in place of its own. Nothing is written into the target.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hypernetworks.torch_compat import is_exporting
from hypernetworks.weights.dimensions import Dims
from hypernetworks.weights.generator import Generator
from hypernetworks.weights.per_sample import Plans, run_per_sample
from hypernetworks.weights.report import WeightReport, report
from hypernetworks.weights.selection import Modules, select, with_partners


class HyperNetwork(nn.Module):
    """Any module with generated parameters: y = f(x; W, θ), W = g(c, W_target).

    With a condition (B, C), every tensor given to the target and every tensor that it returns has the samples in dimension 0.
    For a bare torch.nn.LSTM, GRU or RNN, or a recurrent network of this library, it is their own batch dimension. BatchNorm
    normalises over all samples together and updates its running statistics once; dropout draws a mask per sample.

    torch.compile compiles it as one graph. With torch 2.13's inductor on the CPU, training convolutions per sample requires
    options={"layout_optimization": False}: with that optimisation, the gradients of the kernels are wrong
    (docs/development/log.md).

    Args:
        target: the module f. It is held, not copied, as `net.target`. Its generated parameters stay in it with their values
            and are no longer trained (requires_grad is False), unless the generator acts on them (`LowRankGenerator`,
            `RowScaleGenerator`). All other parameters are unchanged. If a forward pass fails, the target, including running
            statistics, is unchanged.
        generator: generates the weights. It is bound to this target, so every HyperNetwork needs its own.
        modules: which parameters are generated. None: all; a module type or a tuple of types: all parameters of such modules;
            a glob over the names of parameters or of the modules that hold them (``"layer2.*"``, ``"*.weight"``); or a
            predicate (module name, module) or (module name, module, parameter name) -> bool.

    Raises:
        ValueError: nothing is selected; the generator cannot generate the selection or is already bound; a condition is
            missing, unexpected, of the wrong size or of another batch size than the input; or the parameters of the target
            were replaced, reshaped, added or removed since.
        TypeError: an argument is not a module, generator, selection or tensor.

    Source: HyperNetworks, arXiv 1609.09106.

    Example:
        >>> net = hn.HyperNetwork(torch.nn.Linear(3, 2), hn.FullGenerator(condition_size=8))
        >>> net(torch.randn(4, 3), condition=torch.randn(8)).shape           # one set of weights for the batch
        torch.Size([4, 2])
        >>> net(torch.randn(4, 3), condition=torch.randn(4, 8)).shape        # one set per sample
        torch.Size([4, 2])
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
            raise ValueError(f"{type(generator).__name__} generates none of the selected parameters: {names}")
        generator.bind(weights)
        for weight in weights:
            if not generator.trains_base(weight.name):
                weight.value.requires_grad_(False)
        self.target = target
        self.generator = generator
        self._names = tuple(weight.name for weight in weights)
        self._plans = Plans()
        self._remember()
        self.register_load_state_dict_post_hook(_remember_again)

    def forward(
        self,
        *args: Any,
        condition: Tensor | None = None,
        in_dims: Dims = 0,
        out_dims: Dims = 0,
        samples_per_condition: int = 1,
        **kwargs: Any,
    ) -> Any:
        """Run the target on the arguments with weights generated from the condition, (C,), (B, C) or None.

        For a condition (B, C):

        Args:
            in_dims: where the samples are in the tensors among the arguments, as in torch.func.vmap: one dimension for all,
                a tuple with an entry for each positional argument, or a dict of entries by position or keyword. An entry is
                a dimension, None for what all samples share, or nested as the argument is.
            out_dims: where the samples are in the returned tensors: one dimension, or a tuple with one for each.
            samples_per_condition: n. The dimensions have B·n samples: the n of the first condition, then those of the second.
        """
        per_sample = isinstance(condition, Tensor) and condition.dim() == 2
        if not per_sample and (in_dims, out_dims, samples_per_condition) != (0, 0, 1):
            raise ValueError("in_dims, out_dims and samples_per_condition need a condition (B, C)")
        # running statistics are copied, and written back only if the target succeeds
        live = self._live_buffers()
        buffers = {name: buffer.clone() for name, buffer in live.items()}
        if per_sample:
            self._check_target()
            self._check_condition(condition)
            assert condition is not None
            forms = self.generator.forms(condition, self._own())
            own = {"in_dims": in_dims, "out_dims": out_dims, "each": samples_per_condition}
            result = run_per_sample(self.target, forms, buffers, len(condition), args, kwargs, self._plans, **own)
        else:
            result = functional_call(self.target, self.generate(condition) | buffers, args, kwargs)
        with torch.no_grad():
            for name, buffer in live.items():
                buffer.copy_(buffers[name])
        return result

    def generate(self, condition: Tensor | None = None) -> dict[str, Tensor]:
        """Generate the tensors, by their names in the target. For a condition (B, C) each has the leading dimension B."""
        self._check_target()
        self._check_condition(condition)
        return self.generator(condition, self._own())

    def weight_report(self, condition: Tensor | None = None) -> WeightReport:
        """Report the variance of each generated tensor, parameter counts and compression, see `WeightReport`.

        Args:
            condition: (C,) or (B, C). The default is 64 fixed draws from N(0, 1).
        """
        return report(self, condition)

    def _live_buffers(self) -> dict[str, Tensor]:
        """The buffers of the target's modules in training mode."""
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
        """Record the target's parameters."""
        self._all_names = tuple(name for name, _ in self.target.named_parameters())
        self._originals = [self.target.get_parameter(name) for name in self._names]
        self._shapes = [tuple(original.shape) for original in self._originals]

    def _own(self) -> dict[str, Tensor]:
        """The target's own tensors that are generated."""
        found = dict(self.target.named_parameters())
        return {name: found[name] for name in self._names}

    def _check_target(self) -> None:
        """Check that the target's parameters are those recorded."""
        now = dict(self.target.named_parameters())
        changed = "the target has changed since it was wrapped"
        if tuple(now) != self._all_names:
            added = [name for name in now if name not in self._all_names]
            removed = [name for name in self._all_names if name not in now]
            raise ValueError(f"{changed}: added {added}, removed {removed}: wrap it again")
        for name, original, shape in zip(self._names, self._originals, self._shapes, strict=True):
            if tuple(now[name].shape) != shape:
                raise ValueError(f"{changed}: {name} was {shape}, is {tuple(now[name].shape)}: wrap it again")
            # torch.func.functional_call inserts tensors that are not Parameters, and torch.export inserts substitutes
            substituted = is_exporting() or not isinstance(now[name], nn.Parameter)
            if now[name] is not original and not substituted:
                raise ValueError(f"{changed}: {name} was replaced: wrap it again")

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """As in nn.Module. Moving to some devices replaces parameters, which must not count as a change of the target."""
        self._check_target()
        done = super()._apply(fn, recurse)
        self._remember()
        return done


def _remember_again(net: nn.Module, keys: Any) -> None:
    """Loading with assign=True replaces parameters, which must not count as a change of the target."""
    assert isinstance(net, HyperNetwork)
    net._remember()
