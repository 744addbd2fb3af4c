"""Base class of the methods that train a backbone."""

from typing import Any

from torch import Tensor

from ssl_core.backbones import build_backbone
from ssl_core.base_model import BaseModel
from ssl_core.errors import ConfigError


class BackboneMethod(BaseModel):
    """A method that trains ``self.backbone``. Its prediction is that of the online probe on the backbone."""

    backbone: Any

    def initialize_modules(self) -> None:
        """Create the backbone."""
        model = self.config.model
        self.backbone = build_backbone(model.backbone, self.image_shape, **model.backbone_options)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits ``(N, K)`` of the online probe; the features ``(N, D)`` if there are no labels."""
        features = self.backbone(x)
        return self.probes.scores("backbone", features) if "backbone" in self.probes else features


def check_labels(method: str, num_classes: int) -> None:
    """Raise a ConfigError if the training data of a supervised method has fewer than two classes."""
    if num_classes < 2:
        raise ConfigError(
            f"the training data has {'no labels' if num_classes == 0 else 'one class only'}",
            key="model.name",
            value=method,
            expected="at least two classes; for images without labels choose a self-supervised method, e.g. "
            "model.name=simclr",
        )
