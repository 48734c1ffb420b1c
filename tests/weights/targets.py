"""Targets for the tests, and the reference for weights per sample: a loop over the samples."""

import torch
from torch import nn

import hypernetworks as hn

C = 3
"""Size of the conditions."""


class ResidualBlock(nn.Module):
    """conv, BatchNorm, ReLU, conv, BatchNorm, and a shortcut."""

    def __init__(self, channels: int = 4, dtype=torch.float64) -> None:
        super().__init__()
        made = {"dtype": dtype}
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False, **made)
        self.bn1 = nn.BatchNorm2d(channels, **made)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False, **made)
        self.bn2 = nn.BatchNorm2d(channels, **made)

    def forward(self, x):
        return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


def mlp(dtype=torch.float64) -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 8, dtype=dtype), nn.ReLU(), nn.Linear(8, 4, dtype=dtype))


GENERATORS = {
    "full": lambda **own: hn.FullGenerator(C, **own),
    "chunked": lambda **own: hn.ChunkedGenerator(C, chunk_size=100, **own),
    "low-rank": lambda **own: hn.LowRankGenerator(C, rank=2, **own),
    "shared-low-rank": lambda **own: hn.SharedLowRankGenerator(C, rank=2, embedding_size=4, **own),
    "row-scale": lambda **own: hn.RowScaleGenerator(C, **own),
    "residual": lambda **own: hn.ResidualGenerator(hn.FullGenerator(C, **own), scale=0.5),
    "encoded": lambda **own: hn.EncodedGenerator(hn.FourierEncoder(C, 4), hn.LowRankGenerator(8, rank=2, **own)),
}


@torch.no_grad()
def shake(net: nn.Module) -> None:
    """Add noise to every trainable parameter, so that none starts at zero."""
    for parameter in net.parameters():
        if parameter.requires_grad:
            parameter.add_(0.2 * torch.randn_like(parameter))


def close(a, b, tol=1e-10) -> None:
    assert a.shape == b.shape
    assert (a - b).abs().max() <= tol * max(1.0, b.abs().max().item())
