"""All4One (Estepa, Sarasua, Nagarajan & Radeva 2023, https://arxiv.org/abs/2303.09417).

NNCLR with a teacher, whose embeddings choose the neighbours, and two more terms. A transformer summarises the five nearest
neighbours of one view as a centroid, and, of the other view, its prediction with four neighbours; the two match. The third
term brings the correlation of the dimensions of student and teacher to the identity, as in Barlow Twins.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.teacher_student import PredictorConfig, TeacherConfig, TeacherStudent, predictor
from ssl_core.modules.neighbour_summary import NeighbourSummary
from ssl_core.optimizers import other_parameters
from ssl_losses.checks import LOWEST_TEMPERATURE
from ssl_losses.components.queue import Queue
from ssl_losses.distributed import gather_with_gradient
from ssl_losses.ops.decorrelation import decorrelation
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.precision import widened, without_autocast
from ssl_losses.similarity.pair_cross_entropy import crossed_matching


@dataclass
class All4OneConfig(PredictorConfig, TeacherConfig):
    """Keys of All4One."""

    projector: list[int] = option([2048, 2048, 256], low=1)  # widths of the projector's layers, the last is D
    temperature: float = option(0.2, low=LOWEST_TEMPERATURE)  # tau, temperature for neighbours
    centroid_temperature: float = option(0.1, low=LOWEST_TEMPERATURE)  # tau, temperature for centroids
    neighbour_weight: float = option(0.5, low=0.0)  # sigma, weight of the loss of neighbours
    centroid_weight: float = option(0.5, low=0.0)  # kappa, weight of the loss of centroids
    feature_weight: float = option(5.0, low=0.0)  # eta, of the feature loss; published code: 0.5, scaled by 10
    num_neighbours: int = option(5, low=2)  # k, neighbours of an embedding
    queue_size: int = option(98304, low=1)  # earlier embeddings of the teacher, among them the neighbours
    num_heads: int = option(8, low=1)  # attention heads of the transformer
    num_layers: int = option(3, low=1)  # layers of the transformer
    dropout: float = option(0.1, low=0.0, below=1.0)  # dropout of the transformer


class All4One(TeacherStudent):
    """Nearest neighbours, their centroids and decorrelated dimensions as one objective."""

    config_class = All4OneConfig
    num_views = 2
    projector_options: ClassVar = {"last_norm": True}

    def initialize_modules(self) -> None:
        """Create the backbone, the projector, their teacher, two predictors, the transformer and the queue."""
        super().initialize_modules()
        model = self.config.model
        self.predictor, self.centroid_predictor = predictor(model), predictor(model)
        self.summary = NeighbourSummary(model.projector[-1], model.num_heads, model.num_layers, model.dropout)
        self.queue = Queue(model.queue_size)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the transformer as a group with a tenth of the learning rate, as in the published recipe; and the rest."""
        transformer = list(self.summary.parameters())
        return [{"params": other_parameters(self, transformer)}, {"params": transformer, "lr_scale": 0.1}]

    def compute_loss(self) -> dict[str, Tensor]:
        """Return the three terms, each the mean over both directions."""
        model, views = self.config.model, self.views()
        z, t = [self.embed(view) for view in views], unit([self.target(view) for view in views])
        neighbours = [self.neighbours(each) for each in t]  # (N, k, D)
        predictions, queries = [self.predictor(each) for each in z], [self.centroid_predictor(each) for each in z]
        # The last neighbour makes room for the prediction
        mixed = [self.summary(torch.cat([q[:, None], n[:, :-1].to(q)], dim=1)) for q, n in zip(queries, neighbours)]
        centroids = [self.summary(each) for each in neighbours]
        if self.training:
            self.queue.update(t[0])
        neighbour = crossed_matching([n[:, 0] for n in neighbours], unit(predictions), 1 / model.temperature)
        centroid = crossed_matching(unit(centroids), unit(mixed), 1 / model.centroid_temperature)
        return {
            "neighbour": model.neighbour_weight * neighbour,
            "centroid": model.centroid_weight * centroid,
            "feature": model.feature_weight * decorrelation(t, widened(z)),
        }

    @without_autocast
    def neighbours(self, z: Tensor) -> Tensor:
        """Return the nearest neighbours ``(N, k, D)`` of unit rows ``(N, D)``, the nearest first."""
        rows = self.queue.contents(z)
        if len(rows) < self.config.model.num_neighbours:  # the first steps; the published code starts with random rows
            rows = gather_with_gradient(z)
        return rows[(z @ rows.T).topk(min(len(rows), self.config.model.num_neighbours), dim=1).indices]


def unit(views: list[Tensor]) -> list[Tensor]:
    """Return the rows of all views with length 1, in float32 at least."""
    return [unit_rows(z) for z in widened(views)]
