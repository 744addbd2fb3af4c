"""What methods share that compare the embeddings of two views: a backbone, a projector, a linear probe as prediction."""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.backbones import build_backbone
from ssl_core.base_model import BaseModel
from ssl_core.config import ModelConfig, option
from ssl_core.errors import ConfigError
from ssl_core.projectors import mlp


@dataclass
class JointEmbeddingConfig(ModelConfig):
    """Keys of every joint-embedding method."""

    projector: list[int] = option([2048, 128])  # widths of the projector's layers, the last is the embedding's D

    def check(self) -> None:
        """Refuse a projector without layers, or with a layer of no units."""
        super().check()
        if not self.projector or min(self.projector) < 1:
            raise ConfigError(
                f"model.projector={self.projector}: expected the widths of at least one layer, each at least 1, "
                "e.g. [2048, 128]"
            )


class JointEmbedding(BaseModel):
    """A method whose loss is a function of the embeddings ``(N, D)`` of the views: subclasses write ``embedding_loss``."""

    config_class = JointEmbeddingConfig
    num_views: int | None = None  # that the loss compares; None: two or more

    def initialize_modules(self) -> None:
        """Make the backbone and the projector."""
        model = self.config.model
        self.backbone = build_backbone(model.backbone, self.image_shape, **model.backbone_options)
        self.projector = mlp([self.backbone.num_features, *model.projector])

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits ``(N, K)`` of the online probe on the backbone (its features where there are no labels)."""
        features = self.backbone(x)
        return self.probes.scores("backbone", features) if "backbone" in self.probes else features

    def compute_loss(self) -> Tensor | dict[str, Tensor]:
        """Return the loss of the embeddings of all views of the batch."""
        views = self.data[0] if isinstance(self.data[0], list) else [self.data[0]]
        if len(views) < 2 or self.num_views not in (None, len(views)):
            raise ConfigError(
                f"data.views={getattr(self.config.data, 'views', '?')!r}: it gives {len(views)} of an image, and "
                f"{type(self).__name__} compares {self.num_views or 'two or more'}; data.views=simclr gives two"
            )
        return self.embedding_loss(*(self.projector(self.backbone(view)) for view in views))

    def embedding_loss(self, *embeddings: Tensor) -> Tensor | dict[str, Tensor]:
        """Return the loss of embeddings ``(N, D)``, one for each view."""
        raise NotImplementedError
