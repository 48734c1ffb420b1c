"""Image classification: the task that the training loop drives."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from hypernetworks.processes import distributed, parts
from hypernetworks.training.epochs import Epochs
from hypernetworks.training.loop import Task
from hypernetworks.training.random import generator
from hypernetworks.vision.config import VisionConfig
from hypernetworks.vision.data import ImageData, Images
from hypernetworks.vision.evaluate import evaluate
from hypernetworks.vision.views import Views


class ImageTask(Task[nn.Module]):
    """Classification of images in epochs, with a random view of each image."""

    unit = "images"

    def __init__(self, model: nn.Module, config: VisionConfig, data: ImageData) -> None:
        device = next(model.parameters()).device
        self.model: nn.Module = model
        self.network: nn.Module = distributed(model)
        self.views: Views = data.views
        self.parts: Sequence[slice] = parts(config.batch_size, config.schedule.accumulate)
        self.batch_size: int = config.batch_size
        self.seed: int = config.schedule.seed
        self.train: Images = data.train.to(device)
        self.validation: Images = data.validation.to(device)
        self.epochs: Epochs = Epochs(len(data.train), config.batch_size, config.schedule.seed)

    def loss(self, step: int, part: slice) -> tuple[Tensor, int]:
        """Mean −ln p of the labels of these images of the batch."""
        device = self.train.labels.device
        chosen = self.epochs.batch(step)[part].to(device)
        images, labels = self.train.images[chosen], self.train.labels[chosen]
        draws = self.views.draw(self.batch_size, images.shape[-1], generator(self.seed, "views", step))
        views = self.views.drawn(images, draws[part].to(device))
        logits = self.network(views).to(views.dtype)  # autocast may have changed it
        return F.cross_entropy(logits, labels), len(chosen)

    def validate(self) -> Mapping[str, float]:
        """Loss, and error in per cent, on the validation images."""
        score = evaluate(self.model, self.validation, self.views)
        return {"validation_loss": score.loss, "validation_error": score.error}

    def fields(self, loss: float) -> Mapping[str, str]:
        """The loss in nats."""
        return {"loss": f"{loss:.4f}"}

    def state(self) -> dict[str, Any]:
        """Nothing: the order of images and their views depend on seed and step alone."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore."""
