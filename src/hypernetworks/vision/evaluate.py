"""How well a network classifies images, each shown still.

loss = −(1/N) Σ ln p(label)          error = 100 · (images whose most probable class is not their label)/N

Several processes deal the chunks of images out among them. The sums of all chunks are then added in one order, so that every
process has the numbers, bit for bit, of one that did it all.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hypernetworks.processes import count, rank, summed
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
    """Score a network, in evaluation mode, on images on its device; the network's training mode is put back.

    All processes that train together have to call it at once; each gets the score of all images.
    """
    training = model.training
    model.eval()
    chunks = range(0, len(images), CHUNK)
    sums = torch.zeros(
        len(chunks), 2, dtype=torch.float64
    )  # of each chunk: −ln p, wrong; 0 where another process fills it
    try:
        for number in range(rank(), len(chunks), count()):
            part = images.part(chunks[number], chunks[number] + CHUNK)
            sums[number] = _sums(model(views.still(part.images)), part.labels)
    finally:
        model.train(training)
    losses, wrongs = summed(sums).unbind(dim=1)
    return Score(len(images), int(wrongs.sum()), sum(losses.tolist()) / len(images))


def _sums(logits: Tensor, labels: Tensor) -> Tensor:
    """Over images: −ln p(label), and how many are wrong."""
    loss = F.cross_entropy(logits, labels, reduction="sum")
    return torch.stack([loss.double(), (logits.argmax(dim=1) != labels).sum().double()])
