"""SimCLR (Chen, Kornblith, Norouzi & Hinton 2020, https://arxiv.org/abs/2002.05709)."""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.config import option
from ssl_core.models.joint_embedding import JointEmbedding, JointEmbeddingConfig
from ssl_losses import nt_xent


@dataclass
class SimCLRConfig(JointEmbeddingConfig):
    """Keys of SimCLR."""

    temperature: float = option(0.2, above=0.0)  # of the similarities; the paper's 0.5 at 32 pixels, 0.1 at 224


class SimCLR(JointEmbedding):
    """Two views of an image attract each other, all other images of the (global) batch repel."""

    config_class = SimCLRConfig
    num_views = 2

    def embedding_loss(self, *embeddings: Tensor) -> Tensor:
        """Return NT-Xent."""
        first, second = embeddings
        return nt_xent(first, second, self.config.model.temperature)
