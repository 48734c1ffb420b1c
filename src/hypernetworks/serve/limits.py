"""What a server allows: how long texts may be, how many are made at once, and how long anything may take."""

from dataclasses import dataclass

from hypernetworks.errors import UsageError, check_count


@dataclass(frozen=True)
class Limits:
    """Bounds on what is asked of a server. Impossible ones fail when made, with a UsageError."""

    max_prompt: int = 1000
    """Characters of a prompt. It is read in one call, for which all others wait: some 0.2 ms a character at H = 512."""
    max_length: int = 10_000
    """Characters of a text."""
    rows: int = 64
    """How many texts are made at once, by both runs together."""
    queue: int = 64
    """How many more may wait for their turn; beyond them the answer is 429."""
    timeout: float = 120.0
    """Seconds that a text may take, its waiting included; what is there by then stands."""
    patience: float = 10.0
    """Seconds that a client may take to send its request, or to read some of the answer."""

    def __post_init__(self) -> None:
        for name in ("max_prompt", "max_length", "rows"):
            check_count(name, getattr(self, name))
        check_count("queue", self.queue, least=0)
        for name in ("timeout", "patience"):
            if not 0 < getattr(self, name) < float("inf"):
                raise UsageError(f"{name} should be a finite number of seconds above 0, got {getattr(self, name)}")

    @property
    def max_body(self) -> int:
        """Bytes of a request's body: a character of the prompt may be written in 12, as two escapes."""
        return 12 * self.max_prompt + 1024
