"""What a target, or an object that it is given, raises while it is measured: the weights are made then, instead.

A target may raise anything for values of its inputs that it was not given, and an object may refuse in any way to be copied.
What ends the program, and what a call without measuring would meet as well, comes through: an interruption, or no memory.
"""

import re
from types import TracebackType

from hypernetworks.torch_compat import is_out_of_memory
from hypernetworks.weights.per_sample.slots import NotServedError


class Refusals:
    """Within it, an exception becomes a NotServedError that says `what` was refused, with the exception as its cause."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, NotServedError) or not isinstance(error, Exception) or is_out_of_memory(error):
            return
        raise NotServedError(f"{self.what}: {type(error).__name__}: {error}") from error


_BY_VMAP = {
    "data-dependent control flow": "the target decides by the values of a tensor (if mask.all(): ...)",
    "calling .item()": "the target reads a number out of a tensor (x.item())",
    "dynamic shape": "the target makes a tensor whose shape depends on values (x.nonzero(), x[mask])",
}
"""What torch.func.vmap does not allow, by what it says."""


def in_words(error: Exception) -> str:
    """What torch.func.vmap refuses, without its requests to report that to the developers of torch."""
    text = str(error)
    for part, meaning in _BY_VMAP.items():
        if part in text:
            return meaning
    sentences = re.split(r"(?<=\.)\s+", text)
    return " ".join(each for each in sentences if not re.search("please file", each, re.IGNORECASE)).rstrip(". ")
