"""VISReg (Wu, Balestriero & Levine 2026, https://arxiv.org/abs/2606.02572).

The views of a sample agree with the centroid of its global views. Scale, centre and shape of the distribution of the embeddings
are regularised separately: each dimension has deviation 1 and mean 0, and random projections have the quantiles of a normal.
"""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.joint_embedding import JointEmbedding, JointEmbeddingConfig
from ssl_losses import VISRegLoss


@dataclass
class VISRegConfig(JointEmbeddingConfig):
    """Keys of VISReg."""

    projector: list[int] = option([2048, 2048, 256], low=1)  # widths of the projector's layers, the last is D
    regularization: float = option(0.9, low=0.0, high=1.0)  # lambda, weight of the regularisers
    scale: float = option(1.0, low=0.0)  # w_1, weight of the standard deviations
    shape: float = option(1.0, low=0.0)  # w_2, weight of the quantiles of the projections
    center: float = option(1.0, low=0.0)  # w_3, weight of the means
    num_slices: int = option(4096, low=1)  # K, random directions of a step
    global_views: int | None = option(None, low=1)  # first views whose centroid the others predict; null: all


class VISReg(JointEmbedding):
    """Views agree with their centroid; scale, centre and shape of the embeddings are regularised."""

    config_class = VISRegConfig
    joins_views = True  # as in stable-pretraining

    def initialize_modules(self) -> None:
        """Create the backbone, the projector and the loss, which draws new directions in every step."""
        super().initialize_modules()
        model, seed = self.config.model, self.config.hardware.seed
        weights = model.regularization, model.scale, model.shape, model.center
        self.criterion = VISRegLoss(model.num_slices, *weights, model.global_views, seed=seed)

    def embedding_loss(self, *embeddings: Tensor) -> Tensor:
        """Return the VISReg loss."""
        return self.criterion(*embeddings)
