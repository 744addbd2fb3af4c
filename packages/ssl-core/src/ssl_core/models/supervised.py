"""Supervised learning with cross-entropy: the baseline beside which self-supervision is judged."""

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core.backbones import build_backbone
from ssl_core.base_model import BaseModel
from ssl_core.batch import views_of
from ssl_core.errors import ConfigError
from ssl_core.models.configs import SupervisedConfig


class Supervised(BaseModel):
    """A backbone and a linear classifier."""

    config_class = SupervisedConfig

    def initialize_modules(self) -> None:
        """Make the backbone and the classifier."""
        if self.num_classes < 2:
            raise ConfigError("model.name='supervised': the data has no labels; choose a self-supervised method")
        model = self.config.model
        self.backbone = build_backbone(model.backbone, self.image_shape, **model.backbone_options)
        self.classifier = nn.Linear(self.backbone.num_features, self.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(N, K)``."""
        return self.classifier(self.backbone(x))

    def compute_loss(self) -> Tensor:
        """Return the cross-entropy, averaged over the views where there are several."""
        views, labels = self.data[0], self.data[1]
        views = views_of(views)
        smoothing = self.config.model.label_smoothing
        losses = [F.cross_entropy(self.forward(view), labels, label_smoothing=smoothing) for view in views]
        return sum(losses[1:], losses[0]) / len(losses)
