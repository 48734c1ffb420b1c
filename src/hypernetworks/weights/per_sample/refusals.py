"""What a target, or an object that it is given, raises while it is measured: the weights are made then, instead.

A target may raise anything for values of its inputs that it was not given, and an object may refuse in any way to be copied.
What ends the program, and what a call without measuring would meet as well, comes through: an interruption, or no memory.
"""

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
