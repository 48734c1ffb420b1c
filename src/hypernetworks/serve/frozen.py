"""A run, and the same model with weights that do not move, which the page shows next to it: every scale has its mean.

The mean is over a text that the model writes itself, because a server need not have the text that it was trained on.
"""

import torch

from hypernetworks.serve.batch import Batch
from hypernetworks.text.frozen import with_frozen_scales
from hypernetworks.text.generate import Sampling, generate_ids
from hypernetworks.text.stepper import Weights

SAMPLE = Sampling(length=1000, temperature=1.0)
"""The text over which the scales are averaged: as probable as the model says."""


def with_frozen(name: str, batch: Batch, weights: Weights = "float32") -> dict[str, Batch]:
    """A run and, if its network generates weights, the run with frozen ones, by their names."""
    batches = {name: batch}
    if batch.change.gates:
        ids = torch.tensor(list(generate_ids(batch.model, batch.prompt(""), SAMPLE)))
        batches[f"{name}, frozen"] = Batch(with_frozen_scales(batch.model, ids), batch.symbols, weights, frozen_of=name)
    return batches
