"""MACL (Huang, Chen, Wen, Zhang, Li, Wang & Chen 2023, https://arxiv.org/abs/2207.07874).

SimCLR whose temperature follows the alignment of the positive pairs: low while they are far apart, higher as they meet.
Each sample is reweighted so that its gradient does not vanish when its positive is already the most similar.
"""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.joint_embedding import JointEmbedding, JointEmbeddingConfig
from ssl_losses import macl
from ssl_losses.checks import LOWEST_TEMPERATURE


@dataclass
class MACLConfig(JointEmbeddingConfig):
    """Keys of MACL."""

    temperature: float = option(0.1, low=LOWEST_TEMPERATURE)  # tau_0, temperature at an alignment of a_0
    alpha: float = option(0.5, low=0.0, high=1.0)  # how much the temperature follows the alignment
    a_0: float = option(0.0, low=0.0, high=1.0)  # A_0, alignment at which the temperature is tau_0


class MACL(JointEmbedding):
    """Model-aware contrastive learning: SimCLR with a temperature that follows the alignment."""

    config_class = MACLConfig
    num_views = 2

    def embedding_loss(self, *embeddings: Tensor) -> Tensor:
        """Return the MACL loss."""
        model = self.config.model
        first, second = embeddings
        return macl(first, second, temperature=model.temperature, alpha=model.alpha, a_0=model.a_0)
