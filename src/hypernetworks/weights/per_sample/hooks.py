"""Forward hooks of a target while it runs with weights for each sample. They see real tensors of all samples.

Those that torch.nn.utils registers compute weights, and run as they are.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from hypernetworks.torch_compat import HOOKS, tree_flatten, tree_unflatten
from hypernetworks.weights.per_sample.slots import NotServedError

Hook = Callable[..., Any]


def change_hooks(module: nn.Module, change: Callable[[Hook], Hook] | None) -> None:
    """Replace each forward hook of a copied module and its submodules by change(hook), or remove it."""
    for each in module.modules():
        for kind in HOOKS[:2]:
            hooks = getattr(each, kind)
            for key, hook in list(hooks.items()):
                if type(hook).__module__.startswith("torch.nn.utils"):
                    continue
                if change is None:
                    del hooks[key]
                else:
                    hooks[key] = change(hook)


def only_watching(hook: Hook) -> Hook:
    """A hook that may not return anything: where the samples are in what it returns was not measured."""

    def watch(*args: Any) -> None:
        if hook(*args) is not None:
            raise NotServedError("a forward hook returns other values")

    return watch


def converted(hook: Hook, there: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor]) -> Hook:
    """A hook that is given the tensors of all samples, `there`, and whose tensors become those of each sample, `back`."""

    def each(convert: Callable[[Tensor], Tensor], tree: Any) -> Any:
        leaves, form = tree_flatten(tree)
        return tree_unflatten([convert(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves], form)

    def run(module: nn.Module, *args: Any) -> Any:
        result = hook(module, *(each(there, arg) for arg in args))
        return None if result is None else each(back, result)

    return run
