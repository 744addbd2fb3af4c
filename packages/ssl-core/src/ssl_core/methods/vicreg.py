"""VICReg (Bardes, Ponce & LeCun 2022, https://arxiv.org/abs/2105.04906).

The embeddings of two views agree (invariance), each dimension keeps a standard deviation of at least 1 over the batch
(variance), and different dimensions are decorrelated (covariance). The last two terms prevent collapse, without
negatives, a teacher or a predictor. The embeddings are wide.
"""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.joint_embedding import JointEmbedding, JointEmbeddingConfig
from ssl_losses import vicreg


@dataclass
class VICRegConfig(JointEmbeddingConfig):
    """Keys of VICReg."""

    projector: list[int] = option([2048, 2048, 2048], low=1)  # widths of the projector's layers, the last is D
    invariance: float = option(25.0, low=0.0)  # weight of the distance between the views
    variance: float = option(25.0, low=0.0)  # weight of the hinge on each dimension's standard deviation
    covariance: float = option(1.0, low=0.0)  # weight of the off-diagonal covariance


class VICReg(JointEmbedding):
    """The views agree, each dimension keeps its variance, and the dimensions are decorrelated."""

    config_class = VICRegConfig

    def embedding_loss(self, *embeddings: Tensor) -> Tensor:
        """Return the VICReg loss."""
        model = self.config.model
        return vicreg(*embeddings, invariance=model.invariance, variance=model.variance, covariance=model.covariance)
