"""Supervised learning with cross-entropy: the baseline of self-supervised methods."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core.backbones import build_backbone
from ssl_core.base_model import BaseModel
from ssl_core.config import ModelConfig, option
from ssl_core.errors import ConfigError


@dataclass
class SupervisedConfig(ModelConfig):
    """Keys of supervised learning."""

    label_smoothing: float = option(0.0, low=0.0, below=1.0)  # probability spread over all classes (Szegedy 2016)


class Supervised(BaseModel):
    """A backbone and a linear classifier."""

    config_class = SupervisedConfig

    def before_run(self) -> None:
        """Raise a ConfigError if the data has no classes to learn, before the run folder is created."""
        if self.num_classes < 2:
            raise ConfigError(
                f"the training data has {'no labels' if self.num_classes == 0 else 'one class only'}",
                key="model.name",
                value="supervised",
                expected="at least two classes; for images without labels choose a self-supervised method, e.g. "
                "model.name=simclr",
            )

    def initialize_modules(self) -> None:
        """Create the backbone and the classifier."""
        model = self.config.model
        self.backbone = build_backbone(model.backbone, self.image_shape, **model.backbone_options)
        self.classifier = nn.Linear(self.backbone.num_features, self.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(N, K)``."""
        return self.classifier(self.backbone(x))

    def compute_loss(self) -> Tensor:
        """Return the cross-entropy of the labelled samples, averaged over the views."""
        views, labels, _ = self.data
        smoothing = self.config.model.label_smoothing
        losses = [
            F.cross_entropy(self.forward(view), labels, ignore_index=-1, label_smoothing=smoothing, reduction="sum")
            for view in views
        ]
        return sum(losses[1:], losses[0]) / len(losses) / (labels >= 0).sum().clamp(min=1)
