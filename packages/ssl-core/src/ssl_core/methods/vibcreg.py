"""VIbCReg (Lee & Aune 2021, https://arxiv.org/abs/2109.00783).

VICReg with correlations in place of covariances, averaged over the pairs of dimensions: the weight of that term depends
neither on the width nor on the scale of the embeddings.
"""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.joint_embedding import JointEmbedding, JointEmbeddingConfig
from ssl_losses import vibcreg


@dataclass
class VIbCRegConfig(JointEmbeddingConfig):
    """Keys of VIbCReg."""

    projector: list[int] = option([2048, 2048, 2048], low=1)  # widths of the projector's layers, the last is D
    invariance: float = option(25.0, low=0.0)  # lambda, weight of the distance between the views
    variance: float = option(25.0, low=0.0)  # mu, weight of the hinge on each dimension's standard deviation
    covariance: float = option(200.0, low=0.0)  # nu, weight of the squared correlations


class VIbCReg(JointEmbedding):
    """The views agree, each dimension keeps its variance, and the dimensions are uncorrelated.

    The projector of the paper ends in iterative normalisation; this one ends in a linear layer.
    """

    config_class = VIbCRegConfig

    def embedding_loss(self, *embeddings: Tensor) -> Tensor:
        """Return the VIbCReg loss."""
        model = self.config.model
        return vibcreg(*embeddings, invariance=model.invariance, variance=model.variance, covariance=model.covariance)
