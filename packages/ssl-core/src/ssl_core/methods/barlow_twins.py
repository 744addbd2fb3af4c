"""Barlow Twins (Zbontar, Jing, Misra, LeCun & Deny 2021, https://arxiv.org/abs/2103.03230)."""

from torch import Tensor

from ssl_core.methods.configs import BarlowTwinsConfig
from ssl_core.methods.joint_embedding import JointEmbedding
from ssl_losses import barlow_twins


class BarlowTwins(JointEmbedding):
    """The cross-correlation of the views' embeddings is pulled towards the identity."""

    config_class = BarlowTwinsConfig
    num_views = 2

    def embedding_loss(self, *embeddings: Tensor) -> Tensor:
        """Return the Barlow Twins loss."""
        model = self.config.model
        first, second = embeddings
        return model.loss_scale * barlow_twins(first, second, redundancy=model.redundancy)
