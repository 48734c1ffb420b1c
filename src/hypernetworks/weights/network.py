"""HyperNetwork: a target, some or all of whose parameters a generator makes from a condition.

    W = g(c, W_target),  y = f(x; W, θ)          θ: the parameters of the target f that are not generated

    c (C,)       one set of weights for the whole batch
    c (B, C)     one set per sample: y_n = f(x_n; g(c_n, W_target), θ), see `per_sample/`

A copy of the target's modules runs with the generated tensors, see `instance.py`. Nothing is written into the target, except
buffers of modules in training mode, such as running statistics.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from hypernetworks.torch_compat import caches_parametrizations, is_exporting
from hypernetworks.weights.call import Call, CopiedCall, TracedCall, is_traced
from hypernetworks.weights.checkpointing import kept_segments, refuse_reentrant
from hypernetworks.weights.checks import (
    check_condition,
    check_names,
    check_selected,
    check_shapes,
    check_stated,
    check_target,
    check_weights,
)
from hypernetworks.weights.generators.generator import Generator
from hypernetworks.weights.instance import Copier, Instance
from hypernetworks.weights.per_sample.call import run_per_sample
from hypernetworks.weights.per_sample.dimensions import Dims
from hypernetworks.weights.per_sample.measurements import Measurements
from hypernetworks.weights.report import WeightReport, report
from hypernetworks.weights.selection import Modules, select, with_partners


class HyperNetwork(nn.Module):
    """Any module with generated parameters: y = f(x; W, θ), W = g(c, W_target).

    With a condition (B, C), every tensor given to the target and every tensor that it returns has the samples in dimension 0,
    unless `in_dims` and `out_dims` say otherwise. The weights are not made where their form can be applied to the activations.
    For a bare torch.nn.LSTM, GRU or RNN, or a recurrent network of this library, it is their own batch dimension. BatchNorm
    normalises over all samples together and updates its running statistics once; dropout draws a mask per sample.

    torch.compile compiles it as one graph. With torch 2.13's inductor on the CPU, training convolutions per sample requires
    options={"layout_optimization": False}: with that optimisation, the gradients of the kernels are wrong
    (docs/development/log.md).

    Args:
        target: the module f. It is held, not copied, as `net.target`. Its generated parameters stay in it with their values
            and are no longer trained (requires_grad is False), unless the generator acts on them (`LowRankGenerator`,
            `RowScaleGenerator`). All other parameters are unchanged. A call runs a copy of its modules, which shares all other
            tensors, and writes nothing into the target, except that buffers of modules in training mode, such as running
            statistics, are written back if the call succeeds. Attributes that the target assigns stay in the copy, see `using`.
        generator: generates the weights. It is bound to this target, so every HyperNetwork needs its own.
        modules: which parameters are generated. None: all; a module type or a tuple of types: all parameters of such modules;
            a glob over the names of parameters or of the modules that hold them (``"layer2.*"``, ``"*.weight"``); or a
            predicate (module name, module) or (module name, module, parameter name) -> bool.

    Raises:
        ValueError: nothing is selected; the generator cannot generate the selection or is already bound, or returns tensors of
            other names or shapes; a condition is missing, unexpected, of the wrong size or of another batch size than the
            input; the parameters of the target were replaced, reshaped, added or removed since; the target is lazy and not
            initialised; or a generated parameter is in a module of TorchScript.
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
        check_target(target)
        selected = select(target, modules)
        weights = with_partners([weight for weight in selected if not generator.leaves(weight)])
        if not weights:
            names = ", ".join(weight.name for weight in selected)
            raise ValueError(f"{type(generator).__name__} generates none of the selected parameters: {names}")
        check_selected(weights)
        generator.bind(weights)
        for weight in weights:
            if not generator.trains_base(weight.name):
                weight.value.requires_grad_(False)
        self.target = target
        self.generator = generator
        self._names = tuple(weight.name for weight in weights)
        self._measured = Measurements()
        self._copier = Copier(target)
        self._remember()
        self.register_load_state_dict_post_hook(_remember_again)

    def forward(
        self,
        *args: Any,
        condition: Tensor | None = None,
        weights: Mapping[str, Tensor] | None = None,
        in_dims: Dims = 0,
        out_dims: Dims = 0,
        samples_per_condition: int = 1,
        **kwargs: Any,
    ) -> Any:
        """Run the target on the arguments with generated weights.

        Args:
            args, kwargs: the target's arguments. If it has an argument named `condition` or `weights` itself, give that by
                position, or call the target in `using`.
            condition: generates the weights, (C,), (B, C) or None.
            weights: what `generate` returned, instead of a condition.
            in_dims: with weights for each sample, where the samples are in the tensors among the arguments, as in
                torch.func.vmap: one dimension for all, a tuple with an entry for each positional argument, or a dict of
                entries by position or keyword. An entry is a dimension, None for what all samples share, or nested as the
                argument is. If all samples share all inputs, each returned tensor is stacked over the samples.
            out_dims: where they are in the returned tensors: one dimension, or a tuple with one for each.
            samples_per_condition: n. Each condition has n samples, one after another: these dimensions have size B·n.
        """
        own = self._own()

        def new_call() -> Call:
            return (
                TracedCall(self.target, self._places) if is_traced() else CopiedCall(self.target, own, self._instance)
            )

        made, samples = self._weights(own, condition, weights, forms=True)
        before = kept_segments()
        if samples is None:
            if (in_dims, out_dims, samples_per_condition) != (0, 0, 1):
                raise ValueError("in_dims, out_dims and samples_per_condition need weights for each sample")
            call = new_call()
            result = call(made, args, kwargs)
        else:
            if samples == 0:
                raise ValueError("weights for each sample need at least one sample, got none")
            check_stated(out_dims, samples_per_condition)
            stated = {"in_dims": in_dims, "out_dims": out_dims, "each": samples_per_condition}
            result, call = run_per_sample(self.target, new_call, made, samples, args, kwargs, self._measured, **stated)
        call.write_back()
        if kept_segments() != before:
            refuse_reentrant(made.values())
        return result

    def generate(self, condition: Tensor | None = None) -> dict[str, Tensor]:
        """Generate the tensors, by their names in the target. For a condition (B, C) each has the leading dimension B.

        `forward`, `using` and `materialize` take them in place of a condition. A parameter that is tied under several names is
        generated once, under the first. `materialize` makes a module whose state_dict() has all names.
        """
        self._check_target()
        return self._generate(self._own(), condition)

    @contextmanager
    def using(
        self, condition: Tensor | None = None, *, weights: Mapping[str, Tensor] | None = None
    ) -> Iterator[nn.Module]:
        """Within it, a module of the target's class that has one set of generated weights.

        It is a copy of the target's modules that shares everything else with it, and gradients flow through its weights into
        the generator. Use it for methods other than `forward`, for attributes that the target assigns, or for several calls
        with the same weights. At the end of the block without an exception, the target gets the buffers of modules in training
        mode.

        Args:
            condition: generates the weights, (C,) or None.
            weights: what `generate` returned, instead of a condition.

        Example:
            >>> net = hn.HyperNetwork(torch.nn.Linear(3, 2), hn.FullGenerator(8))
            >>> with net.using(torch.randn(8)) as adapted:
            ...     type(adapted).__name__, adapted(torch.randn(4, 3)).shape
            ('Linear', torch.Size([4, 2]))
        """
        own = self._own()
        made = self._one_set(own, condition, weights)
        if not is_traced():
            refuse_reentrant(made.values())  # nothing tells when the module is called
        instance = self._instance(own, made)
        yield instance.module
        instance.write_back()

    @torch.no_grad()
    def materialize(self, condition: Tensor | None = None, *, weights: Mapping[str, Tensor] | None = None) -> nn.Module:
        """Make an independent module of the target's class that has one set of generated weights as its parameters.

        It is a deep copy of the target: it can be saved, loaded, pickled and trained without this library. Tied parameters are
        tied, and the generated ones require gradients.

        Args:
            condition: generates the weights, (C,) or None.
            weights: what `generate` returned, instead of a condition.

        Example:
            >>> net = hn.HyperNetwork(torch.nn.Linear(3, 2), hn.FullGenerator(8))
            >>> plain = net.materialize(torch.randn(8))
            >>> type(plain).__name__, [*plain.state_dict()]
            ('Linear', ['weight', 'bias'])
        """
        self._check_target()
        own = self._own()
        made = self._one_set(own, condition, weights)
        # deepcopy takes what it finds here for the copy of the object with this id
        memo: dict[int, Any] = {id(own[name]): nn.Parameter(tensor.detach().clone()) for name, tensor in made.items()}
        plain = deepcopy(self.target, memo)
        for parameter in plain.parameters():
            parameter.grad = None
        return plain

    def weight_report(self, condition: Tensor | None = None) -> WeightReport:
        """Report the variance of each generated tensor, parameter counts and compression, see `WeightReport`.

        Args:
            condition: (C,) or (B, C). The default is 64 fixed draws from N(0, 1).
        """
        return report(self, condition)

    def _weights(
        self,
        own: Mapping[str, Tensor],
        condition: Tensor | None,
        weights: Mapping[str, Tensor] | None,
        forms: bool = False,
    ) -> tuple[Mapping[str, Any], int | None]:
        """The weights, generated or given, and B if there is one set per sample. Generated ones may be forms."""
        if weights is None:
            made = self._generate(own, condition, forms)
            return made, None if condition is None or condition.dim() == 1 else condition.shape[0]
        if condition is not None:
            raise ValueError("condition and weights are both given: give one of them")
        return check_weights(weights, own, self._places)

    def _one_set(
        self, own: Mapping[str, Tensor], condition: Tensor | None, weights: Mapping[str, Tensor] | None
    ) -> Mapping[str, Tensor]:
        """The weights, generated or given, which must be one set."""
        made, samples = self._weights(own, condition, weights)
        if samples is not None:
            given = "weights with one set" if condition is None else f"a condition of shape {tuple(condition.shape)}"
            raise ValueError(f"one module has one set of weights, got {given} for each of {samples} samples")
        return made

    def _generate(self, own: Mapping[str, Tensor], condition: Tensor | None, forms: bool = False) -> dict[str, Any]:
        """Generate the tensors, or with `forms` the forms for each sample, in the order of the target's own."""
        check_condition(self.generator.condition_size, type(self.generator).__name__, condition)
        if forms and condition is not None and condition.dim() == 2:
            made: Mapping[str, Any] = self.generator.forms(condition, own)
        else:
            made = self.generator(condition, own)
        name = type(self.generator).__name__
        check_names(made, own, f"{name} should return the tensors of its names", self._places)
        if not is_traced():
            check_shapes(made, own, name, condition)
        return {name: made[name] for name in own}

    def _remember(self) -> None:
        """Record the target's parameters."""
        modules = dict(self.target.named_modules())
        self._all_names = tuple(name for name, _ in self.target.named_parameters())
        self._records: list[tuple[str, nn.Module, str, nn.Parameter, torch.Size]] = []
        for name in self._names:
            prefix, _, own_name = name.rpartition(".")
            value = self.target.get_parameter(name)
            self._records.append((name, modules[prefix], own_name, value, value.shape))
        named = {id(value): name for name, _, _, value, _ in self._records}
        self._places: dict[str, list[str]] = {name: [] for name in self._names}
        for prefix, module in modules.items():
            for place, value in module.named_parameters(prefix, recurse=False, remove_duplicate=False):
                if id(value) in named:
                    self._places[named[id(value)]].append(place)

    def _own(self) -> dict[str, Tensor]:
        """The target's own tensors that are generated, by their names."""
        if is_traced():
            self._check_target()
        own: dict[str, Tensor] = {}
        for name, module, own_name, original, shape in self._records:
            value = module._parameters.get(own_name)
            # torch.func.functional_call inserts tensors that are not Parameters
            changed = value is not original and (value is None or isinstance(value, nn.Parameter))
            if (changed or value.shape != shape) and not is_traced():  # pyright: ignore[reportOptionalMemberAccess]
                self._check_target()
            own[name] = value  # pyright: ignore[reportArgumentType]
        return own

    def _instance(self, own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> Instance:
        """A copy of the target with these tensors in place of its own."""
        if caches_parametrizations() and any(map(is_parametrized, self.target.modules())):
            raise ValueError(
                "the target has parametrizations, and torch.nn.utils.parametrize.cached() would mix up their values under "
                "different weights: call the network outside of it"
            )
        if self._copier.target is not self.target:  # this network is itself a copy, in the target of another
            self._copier = Copier(self.target)
        instance = self._copier.instance({id(value): tensors[name] for name, value in own.items()})
        # _own has seen those that are generated; this is a quick look at the others
        if len(instance.replaced) != len(own) or instance.parameters != self._copier.checked:
            self._check_target()
            self._copier.checked = instance.parameters
        return instance

    def _check_target(self) -> None:
        """Check that the target's parameters are those recorded."""
        now = dict(self.target.named_parameters())
        changed = "the target has changed since it was wrapped"
        if tuple(now) != self._all_names:
            added = [name for name in now if name not in self._all_names]
            removed = [name for name in self._all_names if name not in now]
            raise ValueError(f"{changed}: added {added}, removed {removed}: wrap it again")
        for name, _, _, original, shape in self._records:
            if now[name].shape != shape:
                raise ValueError(f"{changed}: {name} was {tuple(shape)}, is {tuple(now[name].shape)}: wrap it again")
            # torch.func.functional_call inserts tensors that are not Parameters, and torch.export inserts substitutes
            substituted = is_exporting() or not isinstance(now[name], nn.Parameter)
            if now[name] is not original and not substituted:
                raise ValueError(f"{changed}: {name} was replaced: wrap it again")

    def _replicate_for_data_parallel(self) -> Any:
        """Called by torch.nn.DataParallel: the target of a replica would have other parameters than those recorded."""
        raise RuntimeError(
            "a HyperNetwork does not run in torch.nn.DataParallel: use torch.nn.parallel.DistributedDataParallel"
        )

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
