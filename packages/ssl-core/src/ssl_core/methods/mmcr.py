"""MMCR (Yerxa, Kuang, Simoncelli & Chung 2023, https://arxiv.org/abs/2303.03307).

The centroids of each sample's views should span as many directions as possible: their matrix has a large nuclear norm. That
makes the views of a sample agree (long centroids) and the samples differ (many directions), without negatives or a teacher.
"""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.joint_embedding import JointEmbedding, JointEmbeddingConfig
from ssl_losses import mmcr


@dataclass
class MMCRConfig(JointEmbeddingConfig):
    """Keys of MMCR."""

    projector: list[int] = option([2048, 512], low=1)  # widths of the projector's layers, the last is the embedding's D
    compression: float = option(0.0, low=0.0)  # lambda, weight of each sample's own nuclear norm; the authors' 0


class MMCR(JointEmbedding):
    """Maximum manifold capacity: the nuclear norm of the views' centroids is maximised."""

    config_class = MMCRConfig

    def embedding_loss(self, *embeddings: Tensor) -> Tensor:
        """Return the MMCR loss."""
        return mmcr(*embeddings, compression=self.config.model.compression)
