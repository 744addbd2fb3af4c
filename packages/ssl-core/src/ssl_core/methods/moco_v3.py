"""MoCo v3 (Chen, Xie & He 2021, https://arxiv.org/abs/2104.02057).

The student's prediction of one view finds the teacher's embedding of the other view among those of the batch on all ranks.
There is no queue; a predictor is added as in BYOL. For ViTs the patch projection is frozen at random weights, which stabilises
training.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.teacher_student import PredictorConfig, TeacherConfig, TeacherStudent, predictor
from ssl_losses import moco_v3
from ssl_losses.checks import LOWEST_TEMPERATURE


@dataclass
class MoCoV3Config(PredictorConfig, TeacherConfig):
    """Keys of MoCo v3."""

    projector: list[int] = option([4096, 256], low=1)  # widths of the projector's layers; a ViT's has three
    temperature: float = option(0.2, low=LOWEST_TEMPERATURE)  # tau, of the similarities; 1.0 for a ResNet-50


class MoCoV3(TeacherStudent):
    """Contrastive learning in the batch, with a teacher and a predictor.

    ``optim.freeze={backbone.patches: EPOCHS}`` freezes the patch projection of a ViT.
    """

    config_class = MoCoV3Config
    num_views = 2
    projector_options: ClassVar = {"last_norm": True, "last_affine": False}

    def initialize_modules(self) -> None:
        """Create the backbone, the projector, their teacher and the predictor."""
        super().initialize_modules()
        self.predictor = predictor(self.config.model)

    def compute_loss(self) -> Tensor:
        """Return the contrastive loss, summed over both directions and multiplied by 2 tau."""
        views = self.views()
        first, second = (self.predictor(self.embed(view)) for view in views)
        keys = [self.target(view) for view in views]
        return moco_v3(first, second, keys[0], keys[1], temperature=self.config.model.temperature)
