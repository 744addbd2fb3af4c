"""DINO (Caron, Touvron, Misra, Jégou, Mairal, Bojanowski & Joulin 2021, https://arxiv.org/abs/2104.14294).

The student's distribution over prototypes for each view matches the teacher's for every other view that is global; the student
also sees small local views. The teacher is the moving average of the student. Its outputs are centred and sharpened, which
prevents collapse without contrast or predictor.
"""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.methods.self_distillation import SelfDistillation, SelfDistillationConfig
from ssl_core.modules.multi_crop import forward_by_size


@dataclass
class DINOConfig(SelfDistillationConfig):
    """Keys of DINO."""


class DINO(SelfDistillation):
    """Self-distillation without labels, for any backbone."""

    config_class = DINOConfig
    assignment_loss = "loss", "num_prototypes"

    def compute_loss(self) -> Tensor:
        """Return the cross-entropy of all pairs of a global view (teacher) and another view (student)."""
        views = self.views()
        teacher = forward_by_size(self.teacher, views[: self.config.model.global_views])
        return self.class_loss(forward_by_size(self.backbone, views), teacher)
