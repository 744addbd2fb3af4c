"""VICReg (Bardes, Ponce & LeCun 2022, https://arxiv.org/abs/2105.04906)."""

from torch import Tensor

from ssl_core.methods.configs import VICRegConfig
from ssl_core.methods.joint_embedding import JointEmbedding
from ssl_losses import vicreg


class VICReg(JointEmbedding):
    """The views agree, every dimension varies, no two dimensions say the same."""

    config_class = VICRegConfig

    def embedding_loss(self, *embeddings: Tensor) -> Tensor:
        """Return the VICReg loss."""
        model = self.config.model
        return vicreg(*embeddings, invariance=model.invariance, variance=model.variance, covariance=model.covariance)
