"""SMoG (Pang, Zhang, Li, Cai & Lu 2022, https://arxiv.org/abs/2207.06167).

The student's prediction of one view is classified among groups; the group of the teacher's embedding of the other view is the
label. The groups move with the student's embeddings of every batch, and the gradient flows through them, so that grouping and
learning are synchronous. From time to time k-means on recent embeddings makes new groups, which prevents collapse.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ssl_core.batch import Batch
from ssl_core.config import option
from ssl_core.errors import ConfigError
from ssl_core.methods.teacher_student import PredictorConfig, TeacherConfig, TeacherStudent, predictor
from ssl_core.modules.momentum_groups import MomentumGroups
from ssl_core.training.feature_pass import feature_pass
from ssl_core.training.seeding import mixed_seed
from ssl_losses.checks import LOWEST_TEMPERATURE
from ssl_losses.components.queue import Queue
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.ops.spherical_kmeans import spherical_kmeans
from ssl_losses.precision import widen


@dataclass
class SMoGConfig(PredictorConfig, TeacherConfig):
    """Keys of SMoG."""

    predictor: list[int] = option([2048], low=1)  # widths of its hidden layers
    final_momentum: float = option(0.99, low=0.0, high=1.0)  # m of the teacher at the end: it is constant
    num_groups: int = option(3000, low=1)  # K, groups
    beta: float = option(0.99, low=0.0, high=1.0)  # momentum of the groups
    temperature: float = option(0.1, low=LOWEST_TEMPERATURE)  # tau
    queue_size: int = option(10000, low=1)  # recent embeddings that k-means clusters
    reset_every: int = option(300, low=1)  # optimizer steps between two k-means

    def check(self) -> None:
        """Raise a ConfigError for fewer embeddings than groups."""
        super().check()
        if self.queue_size < self.num_groups:
            least = f"at least model.num_groups={self.num_groups} embeddings"
            raise ConfigError(key="model.queue_size", value=self.queue_size, expected=least)


class SMoG(TeacherStudent):
    """Views are classified among groups that move with every batch."""

    config_class = SMoGConfig
    projector_options: ClassVar = {"last_norm": True, "last_affine": False}  # affine-free as in lightly
    assignment_loss = "loss", "num_groups"
    num_views = 2

    def initialize_modules(self) -> None:
        """Create the backbone, the projector, their teacher, the predictor, the groups and the queue for k-means."""
        super().initialize_modules()
        model = self.config.model
        self.predictor = predictor(model)
        self.groups = MomentumGroups(model.num_groups, model.projector[-1], model.beta, model.temperature)
        self.recent = Queue(model.queue_size)

    def train_epoch(self) -> None:
        """Make the first groups of the embeddings of all samples, and train on one pass over the data."""
        if self.progress.step == self.progress.batch == 0:
            _, rows = feature_pass(self, lambda view: unit_rows(self.embed(view)))
            self.regroup(rows[:, 0])
        super().train_epoch()

    def train_step(self, batch: Batch) -> bool:
        """Train on one batch. Every ``reset_every`` steps make new groups first, and copy the student into the teacher."""
        model, progress, rows = self.config.model, self.progress, self.recent.rows
        begins = progress.batch % self.config.optim.accumulation_steps == 0
        if begins and progress.step and progress.step % model.reset_every == 0 and len(rows) >= model.num_groups:
            self.regroup(rows)
            self.teacher.restart()
        if progress.step % 2:  # the views take turns as the student's
            self.data = self.data._replace(views=self.data.views[::-1])
        return super().train_step(batch)

    def regroup(self, rows: Tensor) -> None:
        """Set the groups to the centroids of k-means on unit rows ``(M, D)``."""
        num_groups, progress = self.config.model.num_groups, self.progress
        if num_groups > len(rows):
            raise ConfigError(
                key="model.num_groups", value=num_groups, expected=f"at most the {len(rows)} samples of the data"
            )
        generator = torch.Generator().manual_seed(mixed_seed(self.config.hardware.seed, progress.step))
        self.groups.groups = spherical_kmeans(rows, num_groups, generator=generator)[0].to(self.groups.groups.dtype)

    def compute_loss(self) -> Tensor:
        """Return the cross-entropy of the first view's prediction with the group of the second view."""
        first, second = self.views()
        embeddings = self.embed(first)
        loss = self.groups(self.predictor(embeddings), embeddings, self.target(second))
        if self.training:
            self.recent.update(unit_rows(widen(embeddings.detach())))
        return loss
