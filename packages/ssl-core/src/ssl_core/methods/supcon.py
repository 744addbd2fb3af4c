"""SupCon (Khosla, Teterwak, Wang, Sarna, Tian, Isola, Maschinot, Liu & Krishnan 2020, https://arxiv.org/abs/2004.11362).

SimCLR with labels: all views of all samples of a class are positives of each other. A sample without a label has its own
views as positives. It is the supervised counterpart of the contrastive methods.
"""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.joint_embedding import JointEmbedding, JointEmbeddingConfig
from ssl_losses import supcon
from ssl_losses.checks import LOWEST_TEMPERATURE


@dataclass
class SupConConfig(JointEmbeddingConfig):
    """Keys of SupCon."""

    temperature: float = option(0.1, low=LOWEST_TEMPERATURE)  # tau, temperature of the similarities


class SupCon(JointEmbedding):
    """Supervised contrastive learning: samples of a class attract each other, all others repel."""

    config_class = SupConConfig
    needs_labels = True

    def embedding_loss(self, *embeddings: Tensor) -> Tensor:
        """Return the supervised contrastive loss."""
        labels, ids = self.data.labels, self.data.ids
        # A sample without a label is a class of its own: numbers below zero that only its views share
        return supcon(embeddings, labels.where(labels >= 0, -1 - ids), temperature=self.config.model.temperature)
