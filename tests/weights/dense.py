"""Two dense layers with generated weights, and whatever is done with them."""

import torch
from torch import nn

import hypernetworks as hn

from .targets import C, shake

B = 4
"""Samples, and the size of everything else, so that no size tells where the samples are."""

double = {"dtype": torch.float64}


class Run(nn.Module):
    """Two dense layers, and what is done with them."""

    def __init__(self, forward, d=B):
        super().__init__()
        self.a, self.b = nn.Linear(d, d, **double), nn.Linear(d, d, **double)
        self.run = forward

    def forward(self, *args, **kwargs):
        return self.run(self, *args, **kwargs)


def wrapped(forward, generator=None, modules=None):
    net = hn.HyperNetwork(Run(forward), generator or hn.LowRankGenerator(C, rank=2), modules)
    shake(net)
    return net
