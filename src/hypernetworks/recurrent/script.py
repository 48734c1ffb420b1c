"""TorchScript compiles a subset of Python that the networks are not written in: torch.jit.script refuses them in one line."""

from typing import Never


class NotScriptable:
    """A module that torch.jit.script refuses, also inside another module."""

    def __prepare_scriptable__(self) -> Never:
        """What torch.jit.script calls first."""
        raise TypeError(
            f"torch.jit.script does not serve {type(self).__name__}: use torch.export.export to save a program, "
            "torch.onnx.export for ONNX, or torch.compile for speed"
        )
