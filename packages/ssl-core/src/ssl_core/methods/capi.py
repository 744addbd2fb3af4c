"""CAPI (Darcet, Baldassarre, Oquab, Mairal & Bojanowski 2025, https://arxiv.org/abs/2502.08769).

The student sees a few blocks of patches, and a predictor with cross-attention predicts the clusters of some of the others. The
clusters are those of the teacher's patches, found online by a linear layer with its own loss. Their assignments are balanced at
each position of the image, so that position tells nothing about the cluster.
"""

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core.config import option
from ssl_core.methods.masked_image import MaskedImageConfig, MaskedImageModel, take
from ssl_core.modules.ema import Teacher
from ssl_core.modules.heads import Prototypes
from ssl_core.modules.masks.patch_masks import inverse_block_mask, num_masked, random_subset, split_mask
from ssl_core.modules.transformer.patch_predictor import PatchPredictor
from ssl_core.optimizers import other_parameters
from ssl_losses import sinkhorn
from ssl_losses.checks import LOWEST_TEMPERATURE


@dataclass
class CAPIConfig(MaskedImageConfig):
    """Keys of CAPI."""

    mask_ratio: float = option(0.65, low=0.0, below=1.0)  # share of patches that the student does not see
    predicted: float = option(0.05, above=0.0, high=1.0)  # share of the masked patches that are predicted
    num_clusters: int = option(16384, low=1)  # K, clusters of patches
    momentum: float = option(0.999, low=0.0, high=1.0)  # mu, momentum of the teacher
    final_momentum: float = option(1.0, low=0.0, high=1.0)  # mu at the end, reached on half a cosine
    student_temperature: float = option(0.12, low=LOWEST_TEMPERATURE)  # temperature of student and clustering
    target_temperature: float = option(0.06, low=LOWEST_TEMPERATURE)  # temperature of Sinkhorn-Knopp
    predictor_width: int = option(384, low=4)  # width of the predictor's tokens; the paper's: that of the backbone
    predictor_depth: int = option(12, low=1)  # blocks of the predictor
    predictor_heads: int = option(6, low=1)  # attention heads of a block


class CAPI(MaskedImageModel):
    """A predictor predicts the clusters of masked patches."""

    config_class = CAPIConfig
    assignment_loss = "prediction_loss", "num_clusters"

    def initialize_modules(self) -> None:
        """Create the encoder, its teacher, the predictor with its prototypes, and the clusters."""
        super().initialize_modules()
        model, width = self.config.model, self.backbone.num_features
        # Deviation: the authors keep the teacher fixed until the warm-up of the learning rate has ended
        self.teacher = Teacher(self.backbone, model.momentum, model.final_momentum)
        sizes = model.predictor_width, model.predictor_depth, model.predictor_heads
        self.predictor = PatchPredictor(self.backbone.grid, width, sizes[0], *sizes, cross_attention=True)
        self.prototypes = Prototypes(model.predictor_width, model.num_clusters, learn_norm=True)
        self.clusters = nn.Linear(width, model.num_clusters)
        nn.init.normal_(self.clusters.weight)
        nn.init.zeros_(self.clusters.bias)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the clusters, which have half the learning rate and AdamW's weight decay of 0.01, and everything else."""
        clusters = list(self.clusters.parameters())
        return [
            {"params": other_parameters(self, clusters)},
            {"params": clusters, "lr_scale": 0.5, "weight_decay": 0.01},
        ]

    def compute_loss(self) -> dict[str, Tensor]:
        """Return the loss of the predictions, for the student, and that of the clustering, for the clusters."""
        images, ids, model, grid = self.data.views[0], self.data.ids, self.config.model, self.backbone.grid
        seed, epoch, masked = self.config.hardware.seed, self.progress.epoch, num_masked(grid, model.mask_ratio)
        keep, drop, _ = split_mask(inverse_block_mask(ids, grid, model.mask_ratio, seed, epoch), masked)
        predicted = random_subset(drop, ids, max(1, round(model.predicted * masked)), seed, epoch)
        targets, clustering_loss = self.assign(self.patch_tokens(self.teacher.tokens(images)))
        tokens = self.tokens(images, keep=keep)
        logits = self.prototypes(self.predictor(tokens, keep, predicted))
        loss = soft_cross_entropy(logits / model.student_temperature, take(targets, predicted))
        return {"prediction_loss": loss, "clustering_loss": clustering_loss}

    def assign(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Return the assignments ``(N, L, K)`` of the teacher's patches ``(N, L, D)``, balanced by position, and their loss."""
        model = self.config.model
        logits = self.clusters(F.normalize(patches, dim=2))
        targets = sinkhorn(logits.detach().transpose(0, 1), model.target_temperature).transpose(0, 1)
        return targets, soft_cross_entropy(logits / model.student_temperature, targets)


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits with probabilities, ``(N, L, K)`` each."""
    return -(targets * logits.float().log_softmax(2)).sum(2).mean()
