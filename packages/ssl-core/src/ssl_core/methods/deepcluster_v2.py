"""DeepCluster v2 (Caron, Misra, Mairal, Goyal, Bojanowski & Joulin 2020, https://arxiv.org/abs/2006.09882, appendix D).

At the start of each epoch spherical k-means clusters the features that the images had in the epoch before. Each view then
predicts the cluster of its image, among the centroids. Several clusterings at once, alternately of the first and second view,
make up for the randomness of k-means.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_core.config import option
from ssl_core.errors import ConfigError
from ssl_core.methods.joint_embedding import JointEmbedding, JointEmbeddingConfig
from ssl_core.modules.memory_bank import MemoryBank
from ssl_core.training.feature_pass import feature_pass
from ssl_core.training.seeding import mixed_seed
from ssl_losses import deepcluster_v2
from ssl_losses.checks import LOWEST_TEMPERATURE
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.ops.spherical_kmeans import spherical_kmeans

NUM_VIEWS = 2  # that are remembered and clustered: the global ones


@dataclass
class DeepClusterV2Config(JointEmbeddingConfig):
    """Keys of DeepCluster v2."""

    num_prototypes: int = option(3000, low=1)  # K, clusters of a clustering
    num_clusterings: int = option(3, low=1)  # H, independent clusterings
    kmeans_iterations: int = option(10, low=0)  # iterations of k-means
    temperature: float = option(0.1, low=LOWEST_TEMPERATURE)  # tau, temperature of the predictions


class DeepClusterV2(JointEmbedding):
    """Views predict the cluster that k-means gave their image before the epoch."""

    config_class = DeepClusterV2Config
    joins_views = True
    assignment_loss = "loss", "num_prototypes"
    prototypes: Tensor

    def initialize_modules(self) -> None:
        """Create the backbone, the projector, and the memories of features ``(M, 2, D)`` and assignments ``(M, H)``."""
        super().initialize_modules()
        model = self.config.model
        self.memory, self.assignments = MemoryBank(), MemoryBank(dtype=torch.int64)
        shape = model.num_clusterings, model.num_prototypes, model.projector[-1]
        self.register_buffer("prototypes", torch.zeros(shape))  # centroids: they do not learn by gradient

    def train_epoch(self) -> None:
        """Cluster the features, unless the epoch is resumed, and train on one pass over the data."""
        if self.progress.batch == 0:
            self.cluster()
        super().train_epoch()

    def cluster(self) -> None:
        """Set prototypes and assignments by k-means on the features of the epoch before."""
        model, memory = self.config.model, self.memory
        if not len(memory):  # the first epoch; in evaluation mode, where the authors use the statistics of the batches
            memory.fill(*feature_pass(self, lambda view: unit_rows(self.embed(view)), NUM_VIEWS))
        if model.num_prototypes > len(memory):
            raise ConfigError(
                key="model.num_prototypes",
                value=model.num_prototypes,
                expected=f"at most the {len(memory)} samples of the training data",
            )
        generator = torch.Generator().manual_seed(mixed_seed(self.config.hardware.seed, self.progress.epoch))
        found = [
            spherical_kmeans(memory.rows[:, h % NUM_VIEWS], model.num_prototypes, model.kmeans_iterations, generator)
            for h in range(model.num_clusterings)
        ]
        self.prototypes = torch.stack([centroids for centroids, _ in found])
        self.assignments.fill(memory.ids, torch.stack([assignments for _, assignments in found], dim=1))

    def compute_loss(self) -> Tensor:
        """Return the cross-entropy of all views with the clusters of their images; remember the features of two views."""
        embeddings = self.embed_views()
        ids = self.data.ids
        loss = deepcluster_v2(
            *embeddings,
            prototypes=self.prototypes,
            assignments=self.assignments.lookup(ids).T,
            temperature=self.config.model.temperature,
        )
        remembered = [unit_rows(z.detach().to(self.prototypes.dtype)) for z in embeddings[:NUM_VIEWS]]
        self.memory.update(ids, torch.stack(remembered, dim=1))
        return loss
