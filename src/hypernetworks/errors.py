"""The errors that a user sees as one line, and the check that most settings need."""


class UsageError(Exception):
    """The request is invalid: a wrong name, size, file or setting (exit code 2)."""


class FaultError(Exception):
    """The environment failed: no network, a full disk, a loss that is not finite (exit code 1)."""


class DivergedError(FaultError):
    """A loss or gradient is not finite: the settings may be at fault."""


class Terminated(KeyboardInterrupt):
    """The process received SIGTERM, which a scheduler sends before SIGKILL."""


def check_count(name: str, value: int, least: int = 1) -> None:
    """Check that a setting is an integer from `least` to 2^31 - 1.

    Raises:
        UsageError: `value` is outside this range.
    """
    if value < least:
        raise UsageError(f"{name} should be at least {least}, got {value}")
    if value >= 2**31:
        raise UsageError(f"{name} should be below 2^31, got {value}")
