"""Where a warning points: at the first line of the stack that is neither in this package nor in torch."""

import sys


def level_outside() -> int:
    """The stacklevel with which the caller's warnings.warn points at the line of the user, however deep modules are nested."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(("hypernetworks.", "torch.")):
        frame, level = frame.f_back, level + 1
    return level
