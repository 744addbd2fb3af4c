"""DCL (Yeh, Hong, Hsu, Liu, Chen & LeCun 2022, https://arxiv.org/abs/2110.06848).

SimCLR without the positive pair in the denominator of the softmax. An easy positive then no longer weakens the gradient of
the negatives, so that small batches are enough. With ``sigma``, positives that are far apart weigh more (DCLW).
"""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.joint_embedding import JointEmbedding, JointEmbeddingConfig
from ssl_losses import dcl, dclw
from ssl_losses.checks import LOWEST_TEMPERATURE


@dataclass
class DCLConfig(JointEmbeddingConfig):
    """Keys of DCL."""

    temperature: float = option(0.1, low=LOWEST_TEMPERATURE)  # tau, of the similarities; 0.1 at a batch of 256
    sigma: float | None = option(None, low=LOWEST_TEMPERATURE)  # temperature of the DCLW weights; null: DCL


class DCL(JointEmbedding):
    """Decoupled contrastive learning: SimCLR without the positive pair in the denominator."""

    config_class = DCLConfig
    num_views = 2

    def embedding_loss(self, *embeddings: Tensor) -> Tensor:
        """Return the DCL loss, or with ``sigma`` the DCLW loss."""
        model = self.config.model
        first, second = embeddings
        if model.sigma is None:
            return dcl(first, second, temperature=model.temperature)
        return dclw(first, second, temperature=model.temperature, sigma=model.sigma)
