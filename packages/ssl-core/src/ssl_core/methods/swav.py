"""SwAV (Caron, Misra, Mairal, Goyal, Bojanowski & Joulin 2020, https://arxiv.org/abs/2006.09882).

Each view predicts the cluster assignment of another view of the image. The assignments are soft, and Sinkhorn-Knopp balances
them over the prototypes, so that not all images can fall into one cluster. Small local views predict the assignments of the
global ones, which makes many views cheap.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssl_core.batch import Batch
from ssl_core.config import option
from ssl_core.methods.joint_embedding import JointEmbedding, JointEmbeddingConfig
from ssl_core.optimizers import other_parameters
from ssl_losses import SwAVLoss
from ssl_losses.checks import LOWEST_TEMPERATURE
from ssl_losses.ops.normalize import unit_rows


@dataclass
class SwAVConfig(JointEmbeddingConfig):
    """Keys of SwAV."""

    num_prototypes: int = option(3000, low=1)  # K, number of prototypes
    temperature: float = option(0.1, low=LOWEST_TEMPERATURE)  # tau, temperature of the predictions
    epsilon: float = option(0.05, low=LOWEST_TEMPERATURE)  # temperature of Sinkhorn-Knopp
    sinkhorn_iterations: int = option(3, low=0)  # iterations of Sinkhorn-Knopp
    queue_size: int = option(3840, low=0)  # earlier embeddings in Sinkhorn-Knopp; 0 for batches above K
    queue_start_epoch: int = option(15, low=0)  # first epoch of the queue; not before the prototypes learn
    freeze_prototypes_epochs: int = option(1, low=0)  # first epochs in which the prototypes do not learn


class SwAV(JointEmbedding):
    """Views predict each other's balanced cluster assignments."""

    config_class = SwAVConfig
    joins_views = True
    assignment_loss = "loss", "num_prototypes"

    def initialize_modules(self) -> None:
        """Create the backbone, the projector, and the loss with its prototypes and queues."""
        super().initialize_modules()
        model = self.config.model
        self.criterion = SwAVLoss(
            model.num_prototypes,
            dimensions=model.projector[-1],
            temperature=model.temperature,
            epsilon=model.epsilon,
            sinkhorn_iterations=model.sinkhorn_iterations,
            queue_size=model.queue_size,
        )

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the prototypes as a group that is frozen in the first epochs, and everything else."""
        prototypes = self.criterion.prototypes
        frozen = {"params": [prototypes], "frozen_epochs": self.config.model.freeze_prototypes_epochs}
        return [{"params": other_parameters(self, [prototypes])}, frozen]

    def compute_loss(self) -> Tensor:
        """Return the SwAV loss of the two global views, which come first, and any number of local ones."""
        started = self.progress.epoch >= self.config.model.queue_start_epoch
        return self.criterion(*self.embed_views(), use_queue=started)

    def train_step(self, batch: Batch) -> bool:
        """Train on one batch, then set the prototypes to length 1, which momentum and weight decay have changed."""
        moved = super().train_step(batch)
        if moved and self.progress.epoch >= self.config.model.freeze_prototypes_epochs:
            with torch.no_grad():
                self.criterion.prototypes.copy_(unit_rows(self.criterion.prototypes))
        return moved
