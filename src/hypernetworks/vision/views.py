"""Preprocessing and augmentation of images.

    grown  = (image/255 − mean)/std, enlarged or padded with zeros to S × S                (B, C, S, S)
    view   = the crop of grown of size H × H that starts at (u, v), possibly mirrored
    u, v   uniform on 0 … S − H during training, else the centre

All images of a batch are cropped at once, each at its own position. Drawing the positions is separate from cropping, so that
each process draws them for the whole batch and crops its own part.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Views:
    """The preprocessing of a data set. Input is (B, C, H, H), uint8; output has the same shape and PyTorch's default dtype."""

    mean: tuple[float, ...]
    """The mean of each channel, after division by 255."""
    std: tuple[float, ...]
    enlarge_to: int = 0
    """Enlarge images to this side (bilinear) before cropping; 0: do not."""
    pad: int = 0
    """Pad this many zeros on each side before cropping."""
    mirror: bool = False
    """Mirror images left to right with probability ½ during training."""

    def still(self, images: Tensor) -> Tensor:
        """The centre crop of each image, for evaluation."""
        B, _, H, _ = images.shape
        grown = self._grown(images)
        middle = torch.full((B,), (grown.shape[-1] - H) // 2, device=images.device)
        return _cut(grown, middle, middle, H)

    def draw(self, B: int, H: int, generator: torch.Generator) -> Tensor:
        """Draw views of B images of side H, (B, 3), int64: u, v, and 1 if mirrored, else 0."""
        room = (self.enlarge_to or H) + 2 * self.pad - H + 1
        u, v, mirrored = (torch.randint(end, (B,), generator=generator) for end in (room, room, 1 + self.mirror))
        return torch.stack([u, v, mirrored], dim=1)

    def drawn(self, images: Tensor, draws: Tensor) -> Tensor:
        """The crop of each image that `draws` (B, 3) describes, for training."""
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
