"""W-MSE (Ermolov, Siarohin, Sangineto & Sebe 2021, https://arxiv.org/abs/2007.06346)."""

from torch import Tensor

from ssl_core.methods.configs import WMSEConfig
from ssl_core.methods.joint_embedding import JointEmbedding
from ssl_losses import w_mse


class WMSE(JointEmbedding):
    """The distance between the views after whitening the batch: collapse is impossible by construction."""

    config_class = WMSEConfig

    def embedding_loss(self, *embeddings: Tensor) -> Tensor:
        """Return the W-MSE loss."""
        return w_mse(*embeddings, whitening_size=self.config.model.whitening_size)
