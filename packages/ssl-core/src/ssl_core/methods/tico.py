"""TiCo (Zhu, Moraes, Karakulak, Sobol, Canziani & LeCun 2022, https://arxiv.org/abs/2206.10698).

The student's embedding of one view agrees with the teacher's of the other, and avoids the directions that the embeddings of
earlier batches have taken most: the contrast is with a moving average of their covariance, in place of negatives.
"""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.teacher_student import TeacherConfig, TeacherStudent
from ssl_losses import TiCoLoss


@dataclass
class TiCoConfig(TeacherConfig):
    """Keys of TiCo."""

    projector: list[int] = option([4096, 512], low=1)  # widths of the projector's layers, the last is the embedding's D
    covariance_momentum: float = option(0.9, low=0.0, below=1.0)  # beta, momentum of the covariance
    contrast: float = option(8.0, low=0.0)  # rho, weight of the contrastive term


class TiCo(TeacherStudent):
    """The views agree; the embeddings avoid the directions of earlier ones."""

    config_class = TiCoConfig
    num_views = 2

    def initialize_modules(self) -> None:
        """Create the backbone, the projector, their teacher and the covariance."""
        super().initialize_modules()
        model = self.config.model
        self.criterion = TiCoLoss(model.projector[-1], model.covariance_momentum, model.contrast)

    def compute_loss(self) -> Tensor:
        """Return the TiCo loss of the student's first view and the teacher's second."""
        first, second = self.views()
        return self.criterion(self.embed(first), self.target(second))
