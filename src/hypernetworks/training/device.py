"""The device that a user names."""

import torch

from hypernetworks.errors import UsageError

__all__ = ["find_device"]


def find_device(name: str) -> torch.device:
    """Return the device called `name`; "auto" is CUDA if available, else the CPU.

    Raises:
        UsageError: this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        probe = torch.zeros(1, device=name)
        probe.cpu()  # fails on the meta device, which holds no values
        return probe.device
    # a build of torch without the device asserts, or lacks its module
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"device should be auto, cpu, cuda or another device of this machine, got {name!r}: {reason}"
        ) from error
