"""LeJEPA (Balestriero & LeCun 2025, https://arxiv.org/abs/2511.08544).

The views of a sample agree with the centroid of its global views, and the embeddings are distributed as a standard normal:
random projections of them pass the test of Epps and Pulley (SIGReg). There is no teacher, no predictor, no stop-gradient, and
one weight to choose.
"""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.joint_embedding import JointEmbedding, JointEmbeddingConfig
from ssl_losses import SIGRegLoss


@dataclass
class LeJEPAConfig(JointEmbeddingConfig):
    """Keys of LeJEPA."""

    projector: list[int] = option([2048, 2048, 128], low=1)  # widths of the projector's layers, the last is D
    regularization: float = option(0.05, low=0.0, high=1.0)  # lambda, weight of SIGReg; 1 - lambda of the agreement
    num_slices: int = option(1024, low=1)  # random directions of a step
    global_views: int | None = option(None, low=1)  # first views whose centroid the others predict; null: all


class LeJEPA(JointEmbedding):
    """Views agree with their centroid, and the embeddings are standard normal."""

    config_class = LeJEPAConfig
    joins_views = True  # as in the authors' minimal example

    def initialize_modules(self) -> None:
        """Create the backbone, the projector and the loss, which draws new directions in every step."""
        super().initialize_modules()
        model, seed = self.config.model, self.config.hardware.seed
        self.criterion = SIGRegLoss(model.num_slices, model.regularization, model.global_views, seed=seed)

    def embedding_loss(self, *embeddings: Tensor) -> Tensor:
        """Return the LeJEPA loss."""
        return self.criterion(*embeddings)
