"""The two kinds of failure a user is told of in one line."""


class UsageError(Exception):
    """What the user asked for cannot be done as asked: a wrong name, size, file or setting (exit code 2)."""


class FaultError(Exception):
    """The environment failed: no network, a full disk, a loss that is not a number (exit code 1)."""
