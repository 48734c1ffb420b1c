"""How well a network classifies images, each shown still.

loss = −(1/N) Σ ln p(label)          error = 100 · (images whose most probable class is not their label)/N
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from hypernetworks.vision.data import Images
from hypernetworks.vision.views import Views

CHUNK = 500
"""Images classified at once."""


@dataclass(frozen=True)
class Score:
    """What a network scored on a split."""

    images: int
    wrong: int
    """How many were put in another class than theirs."""
    loss: float
    """Mean −ln p of the label."""

    @property
    def error(self) -> float:
        """Per cent of the images."""
        return 100 * self.wrong / self.images


@torch.inference_mode()
def evaluate(model: nn.Module, images: Images, views: Views) -> Score:
    """Score a network, in evaluation mode, on images on its device; the network's training mode is put back."""
    training = model.training
    model.eval()
    wrong, total = 0, 0.0
    try:
        for start in range(0, len(images), CHUNK):
            part = images.part(start, start + CHUNK)
            logits = model(views.still(part.images))
            total += F.cross_entropy(logits, part.labels, reduction="sum").item()
            wrong += int((logits.argmax(dim=1) != part.labels).sum())
    finally:
        model.train(training)
    return Score(len(images), wrong, total / len(images))
