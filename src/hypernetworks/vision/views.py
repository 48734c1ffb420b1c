"""How images are shown to a network: as numbers of mean 0 and variance 1, and while training each time a little otherwise.

    grown  = (image/255 − mean)/std, enlarged or padded with zeros to S × S                (B, C, S, S)
    view   = the part of grown of the image's own size H × H that begins at (u, v), perhaps mirrored
    u, v   uniform on 0 … S − H while training, else the middle

All images of a batch are cut at once, each at its own place. The places are drawn apart from the cutting, so that they can be
drawn for a whole batch of which one process shows a part.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Views:
    """What is done to the images of a set. Images go in as (B, C, H, H), uint8, and come out so in PyTorch's default dtype."""

    mean: tuple[float, ...]
    """Of each channel, as a part of 255."""
    std: tuple[float, ...]
    enlarge_to: int = 0
    """The side to which images are enlarged (bilinear) before they are cut; 0: not."""
    pad: int = 0
    """Zeros on each side before they are cut."""
    mirror: bool = False
    """Whether one in two is mirrored, left to right, while training."""

    def still(self, images: Tensor) -> Tensor:
        """The middle of each image, as it is shown to be classified."""
        B, _, H, _ = images.shape
        grown = self._grown(images)
        middle = torch.full((B,), (grown.shape[-1] - H) // 2, device=images.device)
        return _cut(grown, middle, middle, H)

    def draw(self, B: int, H: int, generator: torch.Generator) -> Tensor:
        """How to show B images of side H while training, (B, 3), int64: u, v, and 1 where it is mirrored, else 0."""
        room = (self.enlarge_to or H) + 2 * self.pad - H + 1
        u, v, mirrored = (torch.randint(end, (B,), generator=generator) for end in (room, room, 1 + self.mirror))
        return torch.stack([u, v, mirrored], dim=1)

    def drawn(self, images: Tensor, draws: Tensor) -> Tensor:
        """The part of each image that was drawn for it, (B, 3), as it is shown to be learned."""
        u, v, mirrored = draws.unbind(dim=1)
        view = _cut(self._grown(images), u, v, images.shape[-1])
        return torch.where(mirrored.bool().view(-1, 1, 1, 1), view.flip(-1), view)

    def _grown(self, images: Tensor) -> Tensor:
        mean, std = (torch.tensor(values, device=images.device).view(-1, 1, 1) for values in (self.mean, self.std))
        x = (images / 255 - mean) / std
        if self.enlarge_to:
            x = F.interpolate(x, size=(self.enlarge_to, self.enlarge_to), mode="bilinear", align_corners=False)
        return F.pad(x, [self.pad] * 4)


def _cut(images: Tensor, u: Tensor, v: Tensor, size: int) -> Tensor:
    """images[b, :, u_b : u_b + size, v_b : v_b + size] for each b."""
    B, C = images.shape[:2]
    b = torch.arange(B, device=images.device).view(B, 1, 1, 1)
    c = torch.arange(C, device=images.device).view(1, C, 1, 1)
    steps = torch.arange(size, device=images.device)
    rows, columns = u.unsqueeze(1) + steps, v.unsqueeze(1) + steps
    return images[b, c, rows.view(B, 1, size, 1), columns.view(B, 1, 1, size)]
