"""All or nothing: what fails leaves the modules that it was given as they were."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

_TABLES = ("_parameters", "_buffers", "_modules")


@contextmanager
def restored_on_error(*modules: nn.Module) -> Iterator[None]:
    """Within it, an exception gives modules back what they had: attributes, tensors, submodules, and requires_grad.

    Values of tensors that were changed in place are not restored.
    """
    parts = {part: None for module in modules for part in module.modules()}
    before = [(part, dict(vars(part)), {table: dict(vars(part)[table]) for table in _TABLES}) for part in parts]
    trained = [(parameter, parameter.requires_grad) for module in modules for parameter in module.parameters()]
    try:
        yield
    except BaseException:
        for part, attributes, tables in before:
            vars(part).clear()
            vars(part).update(attributes)
            for table, entries in tables.items():
                attributes[table].clear()
                attributes[table].update(entries)
        for parameter, requires_grad in trained:
            parameter.requires_grad_(requires_grad)
        raise
