"""Base class of the methods that train a backbone."""

from torch import Tensor

from ssl_core.backbones import build_backbone
from ssl_core.base_model import BaseModel


class SelfSupervised(BaseModel):
    """A method that trains ``self.backbone``. Its prediction is that of the online probe on the backbone."""

    def initialize_modules(self) -> None:
        """Create the backbone."""
        model = self.config.model
        self.backbone = build_backbone(model.backbone, self.image_shape, **model.backbone_options)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits ``(N, K)`` of the online probe; the features ``(N, D)`` if there are no labels."""
        features = self.backbone(x)
        return self.probes.scores("backbone", features) if "backbone" in self.probes else features
