"""Barlow Twins (Zbontar, Jing, Misra, LeCun & Deny 2021, https://arxiv.org/abs/2103.03230).

The cross-correlation matrix of the embeddings of two views, over the batch, is brought to the identity: each dimension
is the same in both views, and different dimensions are uncorrelated. There are no negatives, no teacher and no
predictor. The embeddings are wide.
"""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.joint_embedding import JointEmbedding, JointEmbeddingConfig
from ssl_losses import barlow_twins


@dataclass
class BarlowTwinsConfig(JointEmbeddingConfig):
    """Keys of Barlow Twins."""

    projector: list[int] = option([2048, 2048, 2048], low=1)  # widths of the projector's layers, the last is D
    redundancy: float = option(0.0051, low=0.0)  # weight of the off-diagonal terms, the paper's lambda
    loss_scale: float = option(1.0, above=0.0)  # factor of the whole loss; the authors' code has 1/32 at large D


class BarlowTwins(JointEmbedding):
    """The cross-correlation matrix of the embeddings of two views is trained to be the identity."""

    config_class = BarlowTwinsConfig
    num_views = 2

    def embedding_loss(self, *embeddings: Tensor) -> Tensor:
        """Return the Barlow Twins loss."""
        model = self.config.model
        first, second = embeddings
        return model.loss_scale * barlow_twins(first, second, redundancy=model.redundancy)
