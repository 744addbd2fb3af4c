"""Supervised learning with cross-entropy: the baseline of self-supervised methods."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core.config import ModelConfig, option
from ssl_core.methods.backbone_method import BackboneMethod
from ssl_losses.distributed import all_reduce_with_gradient
from ssl_losses.precision import widen


@dataclass
class SupervisedConfig(ModelConfig):
    """Keys of supervised learning."""

    label_smoothing: float = option(0.0, low=0.0, below=1.0)  # probability spread over all classes (Szegedy 2016)


class Supervised(BackboneMethod):
    """A backbone and a linear classifier."""

    config_class = SupervisedConfig
    needs_labels = True

    def initialize_modules(self) -> None:
        """Create the backbone and the classifier."""
        super().initialize_modules()
        self.classifier = nn.Linear(self.backbone.num_features, self.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(N, K)``."""
        return self.classifier(self.backbone(x))

    def compute_loss(self) -> Tensor:
        """Return the cross-entropy of the labelled samples of all ranks, averaged over the views."""
        views, labels, _ = self.data
        smoothing = self.config.model.label_smoothing
        losses = [
            F.cross_entropy(self.forward(view), labels, ignore_index=-1, label_smoothing=smoothing, reduction="sum")
            for view in views
        ]
        mean_of_views = widen(sum(losses[1:], losses[0]) / len(losses))
        # Not the mean of the ranks' means: each may have another number of labels
        total, count = all_reduce_with_gradient(torch.stack([mean_of_views, (labels >= 0).sum().to(mean_of_views)]))
        return total / count.clamp(min=1)
