"""DenseCL (Wang, Zhang, Shen, Kong & Li 2021, https://arxiv.org/abs/2011.09157).

MoCo v2 of whole images, and of the cells of their feature maps: each cell of one view has to find the cell of the other view
whose backbone feature is the most similar, among the images of earlier batches. It keeps what lies where in the image, which
detection and segmentation need.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core.config import option
from ssl_core.methods.dense_method import check_feature_map
from ssl_core.methods.joint_embedding import JointEmbedding
from ssl_core.methods.masked_image import take
from ssl_core.methods.moco_v2 import MoCoV2Config
from ssl_core.modules.ema import Teacher
from ssl_core.modules.heads import mlp
from ssl_losses import InfoNCELoss, info_nce
from ssl_losses.precision import widened


@dataclass
class DenseCLConfig(MoCoV2Config):
    """Keys of DenseCL."""

    dense_weight: float = option(0.5, low=0.0, high=1.0)  # lambda, share of the loss of the cells


class DenseCL(JointEmbedding):
    """Contrastive learning of whole images and of the cells of their feature maps, with a queue for each."""

    config_class = DenseCLConfig
    num_views = 2
    projector_options: ClassVar[dict[str, Any]] = {"norm": "none"}

    def initialize_modules(self) -> None:
        """Create the backbone, both projectors, their teacher and both queues."""
        super().initialize_modules()
        model = self.config.model
        check_feature_map(self)
        self.dense_projector = mlp([self.backbone.num_features, *model.projector], norm="none")
        parts = self.backbone, self.projector, self.dense_projector
        self.teacher = Teacher(DenseEncoder(*parts), model.momentum, model.final_momentum)
        self.criterion = InfoNCELoss(model.temperature, model.queue_size)
        self.dense_criterion = InfoNCELoss(model.temperature, model.queue_size)

    def compute_loss(self) -> dict[str, Tensor]:
        """Return the InfoNCE losses of whole images and of cells, with the weights 1 - lambda and lambda."""
        model, (first, second) = self.config.model, self.views()
        features, query, query_cells, query_map = dense_embeddings(
            self.backbone, self.projector, self.dense_projector, first
        )
        self.probes.observe("backbone", features)
        _, key, key_cells, key_map = self.teacher(second)
        with torch.no_grad(), torch.autocast(first.device.type, enabled=False):  # near ties need all digits
            rows, columns = (F.normalize(cells, dim=2) for cells in widened((query_map, key_map)))
            positives = take(key_cells, (rows @ columns.mT).argmax(2)).flatten(0, 1)
        cells, queue = query_cells.flatten(0, 1), self.dense_criterion.queue.contents(key)
        dense = info_nce(cells, positives, queue, model.temperature)
        if self.training:
            self.dense_criterion.update(key_cells.mean(1))  # negatives are the mean cells of other images
        return {
            "whole": (1 - model.dense_weight) * self.criterion(query, key),
            "dense": model.dense_weight * dense,
        }


class DenseEncoder(nn.Module):
    """Backbone and both projectors as one module, of which the teacher is a copy."""

    def __init__(self, backbone: nn.Module, projector: nn.Module, dense_projector: nn.Module) -> None:
        super().__init__()
        self.backbone, self.projector, self.dense_projector = backbone, projector, dense_projector

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return :func:`dense_embeddings` of images ``(N, C, H, W)``."""
        return dense_embeddings(self.backbone, self.projector, self.dense_projector, x)


def dense_embeddings(
    backbone: Any, projector: nn.Module, dense_projector: nn.Module, x: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return features ``(N, D)`` and embeddings ``(N, E)``, and those of the S cells: ``(N, S, E)`` and ``(N, S, D)``."""
    features, feature_map = backbone.forward_dense(x)
    cells = feature_map.flatten(2).transpose(1, 2)
    return features, projector(features), dense_projector(cells), cells
