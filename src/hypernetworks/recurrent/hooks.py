"""Hooks of modules whose parameters are read without calling them.

A network calls its cells, so the hooks of a cell run as those of any module. The modules inside a cell (its norms, and in a
hyper network the main cell and the hyper cell) only hold parameters: the cell reads them, for all time steps at once. Their
forward pre-hooks run before that, since weight_norm, spectral_norm and prune of torch.nn.utils compute weights in such hooks.
Other hooks would never run, so they are refused.
"""

from torch import nn


class ParameterHolder(nn.Module):
    """A module that may be a part of a cell, which then reads its parameters without calling it."""


def run_inner_hooks(module: nn.Module, path: str = "") -> None:
    """Run the forward pre-hooks of all holders inside a module, each as hook(holder, ()).

    Raises:
        RuntimeError: for a hook of a holder that would never run.
    """
    for name, child in module._modules.items():
        if isinstance(child, ParameterHolder):
            run_hooks(child, path + name)


def run_hooks(holder: ParameterHolder, place: str) -> None:
    """The same for a holder and all inside it."""
    if holder._forward_hooks or holder._backward_hooks or holder._backward_pre_hooks:
        _refuse(holder, place)
    if holder._forward_pre_hooks:
        for key, hook in holder._forward_pre_hooks.items():
            arguments = ((), {}) if key in holder._forward_pre_hooks_with_kwargs else ((),)
            hook(holder, *arguments)
    if holder._modules:
        run_inner_hooks(holder, f"{place}.")


def _refuse(holder: nn.Module, place: str) -> None:
    kind = "forward" if holder._forward_hooks else "backward"
    raise RuntimeError(
        f"{place} ({type(holder).__name__}) has a {kind} hook, which would never run: a cell reads the parameters of its "
        "parts without calling them, and a stepper those of the cells. Register the hook on the cell or on the network, and "
        "call the network; forward pre-hooks work everywhere"
    )
