"""FroSSL (Skean, Dhakal, Jacobs & Sanchez Giraldo 2024, https://arxiv.org/abs/2310.02903).

Each view's embeddings get a large entropy, measured by the Frobenius norm of their covariance, and the views of a sample agree
with their mean. The norm needs no eigendecomposition, and any number of views can be used.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.joint_embedding import JointEmbedding, JointEmbeddingConfig
from ssl_losses import frossl


@dataclass
class FroSSLConfig(JointEmbeddingConfig):
    """Keys of FroSSL."""

    projector: list[int] = option([2048, 2048, 1024], low=1)  # widths of the projector's layers, the last is D
    invariance: float = option(1.0, low=0.0)  # lambda, weight of the agreement of the views


class FroSSL(JointEmbedding):
    """Embeddings of large entropy whose views agree."""

    config_class = FroSSLConfig
    # Centred, as in the authors' loss of two views: without it the embeddings can collapse to a constant
    projector_options: ClassVar = {"last_norm": True, "last_affine": False}

    def embedding_loss(self, *embeddings: Tensor) -> Tensor:
        """Return the FroSSL loss."""
        return frossl(*embeddings, invariance=self.config.model.invariance)
