"""Scoring a network on images, without augmentation.

loss = −(1/N) Σ ln p(label)          error = 100 · (images whose most probable class is not their label)/N

Several processes share the chunks of images. The sums of all chunks are then added in a fixed order, so every process gets the
numbers, bit for bit, of one process that scored all images.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hypernetworks.processes import count, rank, summed
from hypernetworks.vision.data import Images
from hypernetworks.vision.views import Views

CHUNK = 500
"""Images per forward pass."""


@dataclass(frozen=True)
class ImageScore:
    """The score of a network on a split.

    Example:
        >>> from hypernetworks.vision import ImageScore
        >>> ImageScore(images=10_000, wrong=76, loss=0.025).error
        0.76
    """

    images: int
    wrong: int
    """Number of misclassified images."""
    loss: float
    """Mean −ln p of the label."""

    @property
    def error(self) -> float:
        """Misclassified images, in per cent."""
        return 100 * self.wrong / self.images


@torch.inference_mode()
def evaluate(model: nn.Module, images: Images, views: Views) -> ImageScore:
    """Score a network in evaluation mode on images on its device, then restore its training mode.

    All processes of a group must call this together. Each gets the score of all images.
    """
    training = model.training
    model.eval()
    chunks = range(0, len(images), CHUNK)
    # −ln p and errors of each chunk; zero where another process computes them
    sums = torch.zeros(len(chunks), 2, dtype=torch.float64)
    try:
        for number in range(rank(), len(chunks), count()):
            part = images.part(chunks[number], chunks[number] + CHUNK)
            sums[number] = _sums(model(views.still(part.images)), part.labels)
    finally:
        model.train(training)
    losses, wrongs = summed(sums).unbind(dim=1)
    return ImageScore(len(images), int(wrongs.sum()), sum(losses.tolist()) / len(images))


def _sums(logits: Tensor, labels: Tensor) -> Tensor:
    """−ln p(label) and the number of errors, summed over images."""
    loss = F.cross_entropy(logits, labels, reduction="sum")
    return torch.stack([loss.double(), (logits.argmax(dim=1) != labels).sum().double()])
