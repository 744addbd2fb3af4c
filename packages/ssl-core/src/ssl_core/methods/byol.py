"""BYOL (Grill, Strub, Altché et al. 2020, https://arxiv.org/abs/2006.07733).

A predictor on the student's embedding of one view predicts the teacher's embedding of the other view. The teacher is an
exponential moving average of the student. There are no negatives.
"""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.teacher_student import PredictorConfig, TeacherConfig, TeacherStudent, predictor
from ssl_losses import negative_cosine_similarity


@dataclass
class BYOLConfig(PredictorConfig, TeacherConfig):
    """Keys of BYOL."""

    projector: list[int] = option([4096, 256], low=1)  # widths of the projector's layers, the last is the embedding's D
    momentum: float = option(0.996, low=0.0, high=1.0)  # tau_base, momentum of the teacher at the start


class BYOL(TeacherStudent):
    """The student's prediction of one view matches the teacher's embedding of the other."""

    config_class = BYOLConfig
    num_views = 2

    def initialize_modules(self) -> None:
        """Create the backbone, the projector, their teacher and the predictor."""
        super().initialize_modules()
        self.predictor = predictor(self.config.model)

    def compute_loss(self) -> Tensor:
        """Return the squared distance of the normalised embeddings, 2 - 2 cos, summed over both directions."""
        views = self.views()
        predictions = [self.predictor(self.embed(view)) for view in views]
        return 4 + 4 * negative_cosine_similarity(predictions, [self.target(view) for view in views])
