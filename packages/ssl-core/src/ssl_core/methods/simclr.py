"""SimCLR (Chen, Kornblith, Norouzi & Hinton 2020, https://arxiv.org/abs/2002.05709)."""

from torch import Tensor

from ssl_core.methods.configs import SimCLRConfig
from ssl_core.methods.joint_embedding import JointEmbedding
from ssl_losses import nt_xent


class SimCLR(JointEmbedding):
    """Two views of an image attract each other, all other images of the (global) batch repel."""

    config_class = SimCLRConfig
    num_views = 2

    def embedding_loss(self, *embeddings: Tensor) -> Tensor:
        """Return NT-Xent."""
        first, second = embeddings
        return nt_xent(first, second, self.config.model.temperature)
