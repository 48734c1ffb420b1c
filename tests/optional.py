"""Optional packages of the tests."""

import sys
from types import ModuleType

import pytest
import torch

_OPERATORS: list[torch.library.Library] = []
"""Operators live as long as their library."""


def optional(name: str) -> ModuleType:
    """Import a package, or skip the test.

    timm and transformers import torchvision if they find it. One that was built for another torch lacks its operators, and its
    import fails at two of them. Classification needs none of its operators: here they are declared, so that it can be imported.
    """
    try:
        import torchvision
    except RuntimeError:
        for part in [part for part in sys.modules if part.partition(".")[0] == "torchvision"]:
            del sys.modules[part]
        operators = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            operators.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _OPERATORS.append(operators)
        import torchvision  # noqa: F401
    except ImportError:
        pass
    return pytest.importorskip(name)
