"""DirectCLR (Jing, Vincent, LeCun & Tian 2022, https://arxiv.org/abs/2110.09348).

Contrastive learning without a projector: the loss sees the first ``dim`` dimensions of the backbone's features. The other
dimensions are trained through the residual connections of the backbone, which the paper shows to prevent the collapse of
dimensions that a projector prevents elsewhere.
"""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.backbones import build_backbone
from ssl_core.config import option
from ssl_core.errors import ConfigError
from ssl_core.methods.joint_embedding import ComparingConfig, JointEmbedding
from ssl_losses import directclr
from ssl_losses.checks import LOWEST_TEMPERATURE


@dataclass
class DirectCLRConfig(ComparingConfig):
    """Keys of DirectCLR."""

    dim: int = option(32, low=1)  # d_0, dimensions that the loss sees; the paper's 360 of a ResNet-50's 2048
    temperature: float = option(0.1, low=LOWEST_TEMPERATURE)  # tau, temperature of the similarities


class DirectCLR(JointEmbedding):
    """Contrastive learning on the first dimensions of the features, without a projector."""

    config_class = DirectCLRConfig
    num_views = 2

    def initialize_modules(self) -> None:
        """Create the backbone."""
        model = self.config.model
        self.backbone = build_backbone(model.backbone, self.image_shape, **model.backbone_options)
        if model.dim > self.backbone.num_features:
            raise ConfigError(
                key="model.dim",
                value=model.dim,
                expected=f"at most the {self.backbone.num_features} features of model.backbone={model.backbone!r}",
            )

    def embed(self, view: Tensor) -> Tensor:
        """Return the features ``(N, D)`` of a view ``(N, C, H, W)``."""
        with self.run.precision.autocast():
            return self.backbone(view)

    def embedding_loss(self, *embeddings: Tensor) -> Tensor:
        """Return the DirectCLR loss."""
        model = self.config.model
        first, second = embeddings
        return directclr(first, second, dim=model.dim, temperature=model.temperature)
