"""SimCLR (Chen, Kornblith, Norouzi & Hinton 2020, https://arxiv.org/abs/2002.05709).

Two augmented views of an image attract each other, and all other images of the batch repel them: each embedding has to
find its partner by a softmax over cosine similarities. The number of negatives grows with the batch, so that large
batches help. The loss sees the output of a projector, which is dropped after training.
"""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.joint_embedding import JointEmbedding, JointEmbeddingConfig
from ssl_losses import nt_xent
from ssl_losses.checks import LOWEST_TEMPERATURE


@dataclass
class SimCLRConfig(JointEmbeddingConfig):
    """Keys of SimCLR."""

    temperature: float = option(0.2, low=LOWEST_TEMPERATURE)  # tau; the paper's 0.5 at 32 pixels, 0.1 at 224


class SimCLR(JointEmbedding):
    """Two views of an image attract each other; all other images of the global batch repel."""

    config_class = SimCLRConfig
    num_views = 2

    def embedding_loss(self, *embeddings: Tensor) -> Tensor:
        """Return the NT-Xent loss."""
        first, second = embeddings
        return nt_xent(first, second, self.config.model.temperature)
