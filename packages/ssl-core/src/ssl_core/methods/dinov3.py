"""DINOv3 (Siméoni, Vo, Seitzer et al. 2025, https://arxiv.org/abs/2508.10104).

DINOv2, and Gram anchoring late in training: the similarities of the student's patches are kept close to those of an earlier
teacher, because patch features of long runs lose their locality. The Gram teacher is a copy of the teacher, renewed a few
times.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_core.batch import Batch
from ssl_core.config import option
from ssl_core.methods.dinov2 import DINOv2, DINOv2Config
from ssl_core.modules.ema import Teacher
from ssl_losses import gram_anchoring


@dataclass
class DINOv3Config(DINOv2Config):
    """Keys of DINOv3."""

    gram: float = option(2.0, low=0.0)  # w_Gram, weight of Gram anchoring
    gram_start: float = option(0.85, low=0.0, high=1.0)  # share of the run before it; the authors' 1.01 of 1.2 M steps
    gram_interval: float = option(0.01, above=0.0, high=1.0)  # share of the run after which the Gram teacher is renewed
    gram_copies: int = option(3, low=1)  # times that the teacher is copied


class DINOv3(DINOv2):
    """DINOv2 with Gram anchoring.

    Deviations: the Gram teacher sees the global views as they are (section 4.2 of the paper), not at twice the resolution
    (section 4.3), and local views keep their weight. Rotary positions and registers are the backbone's:
    ``model.backbone_options={registers: 4, positions: rotary}``.
    """

    config_class = DINOv3Config

    def initialize_modules(self) -> None:
        """Create the modules of DINOv2 and the Gram teacher."""
        super().initialize_modules()
        self.gram_teacher = Teacher(self.backbone, momentum=1.0)  # moves only when it is copied

    def gram_steps(self) -> list[int]:
        """Return the optimizer steps before which the teacher is copied. Gram anchoring begins with the first."""
        model, total = self.config.model, self.run.plan.total_steps
        interval = max(1, round(model.gram_interval * total))
        return [round(model.gram_start * total) + copy * interval for copy in range(model.gram_copies)]

    def train_step(self, batch: Batch) -> bool:
        """Copy the teacher where it is due, then train. Every batch of an accumulation makes the same copy."""
        if self.progress.step in self.gram_steps():
            self.gram_teacher.update(self.teacher.model, momentum=0.0)
        return super().train_step(batch)

    def losses(self, student: Tensor, teacher: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Return the losses of DINOv2, and Gram anchoring of all patches of the global views."""
        losses, model = super().losses(student, teacher, mask), self.config.model
        if self.progress.step >= self.gram_steps()[0]:
            target = self.gram_teacher.tokens(torch.cat(self.views()[: model.global_views]))
            losses["gram"] = model.gram * gram_anchoring(self.patch_tokens(student), self.patch_tokens(target))
        return losses
