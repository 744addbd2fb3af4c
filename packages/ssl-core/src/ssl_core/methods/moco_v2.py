"""MoCo v2 (Chen, Fan, Girshick & He 2020, https://arxiv.org/abs/2003.04297).

The student's embedding of one view (the query) finds the teacher's embedding of the other view (the key) among the keys of
earlier batches, which are stored in a queue. The queue gives many negatives without a large batch.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.teacher_student import TeacherConfig, TeacherStudent
from ssl_losses import InfoNCELoss
from ssl_losses.checks import LOWEST_TEMPERATURE


@dataclass
class MoCoV2Config(TeacherConfig):
    """Keys of MoCo v2."""

    projector: list[int] = option([2048, 128], low=1)  # widths of the projector's layers, the last is the embedding's D
    momentum: float = option(0.999, low=0.0, high=1.0)  # m, momentum of the teacher at the start; 0.99 in short runs
    final_momentum: float = option(0.999, low=0.0, high=1.0)  # m at the end of the run
    temperature: float = option(0.2, low=LOWEST_TEMPERATURE)  # tau, temperature of the similarities
    queue_size: int = option(65536, low=1)  # K, keys of earlier batches


class MoCoV2(TeacherStudent):
    """Contrastive learning with a queue of the teacher's embeddings.

    The authors shuffle the teacher's batch over the ranks, so that its batch statistics say nothing about the positives. Here
    batch normalisation takes the statistics of all ranks, which has the same effect.
    """

    config_class = MoCoV2Config
    num_views = 2
    projector_options: ClassVar = {"norm": "none"}

    def initialize_modules(self) -> None:
        """Create the backbone, the projector, their teacher and the queue."""
        super().initialize_modules()
        self.criterion = InfoNCELoss(self.config.model.temperature, self.config.model.queue_size)

    def compute_loss(self) -> Tensor:
        """Return the InfoNCE loss of the first view as the query and the second as the key."""
        query, key = self.views()
        return self.criterion(self.embed(query), self.target(key))
