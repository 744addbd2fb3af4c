"""W-MSE (Ermolov, Siarohin, Sangineto & Sebe 2021, https://arxiv.org/abs/2007.06346)."""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.config import option
from ssl_core.models.joint_embedding import JointEmbedding, JointEmbeddingConfig
from ssl_losses import w_mse


@dataclass
class WMSEConfig(JointEmbeddingConfig):
    """Keys of W-MSE."""

    projector: list[int] = option([1024, 64])  # widths of the projector's layers, the last is the embedding's D
    whitening_size: int = option(128, low=2)  # samples whitened together; more than D of them


class WMSE(JointEmbedding):
    """The distance between the views after whitening the batch: collapse is impossible by construction."""

    config_class = WMSEConfig

    def embedding_loss(self, *embeddings: Tensor) -> Tensor:
        """Return the W-MSE loss."""
        return w_mse(*embeddings, whitening_size=self.config.model.whitening_size)
