"""The two kinds of failure a user is told of in one line."""


class UsageError(Exception):
    """What the user asked for cannot be done as asked: a wrong name, size, file or setting (exit code 2)."""


class FaultError(Exception):
    """The environment failed: no network, a full disk, a loss that is not a number (exit code 1)."""


def check_count(name: str, value: int, least: int = 1) -> None:
    """UsageError unless the setting of this name is at least `least`, and small enough for any counter."""
    if value < least:
        raise UsageError(f"{name} should be at least {least}, got {value}")
    if value >= 2**31:
        raise UsageError(f"{name} should be below 2^31, got {value}")
