"""ReSSL (Zheng, You, Wang, Qian, Zhang, Wang & Xu 2021, https://arxiv.org/abs/2107.09282).

The student's similarities of a strongly augmented view to a queue of embeddings match the teacher's similarities of a weakly
augmented view, at a lower temperature. Relations between samples are kept, rather than positives told from negatives.
"""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.teacher_student import TeacherConfig, TeacherStudent
from ssl_losses import ReSSLLoss
from ssl_losses.checks import LOWEST_TEMPERATURE


@dataclass
class ReSSLConfig(TeacherConfig):
    """Keys of ReSSL."""

    projector: list[int] = option([4096, 512], low=1)  # widths of the projector's layers, the last is the embedding's D
    momentum: float = option(0.999, low=0.0, high=1.0)  # m, momentum of the teacher at the start; 0.99 in short runs
    final_momentum: float = option(0.999, low=0.0, high=1.0)  # m at the end of the run
    student_temperature: float = option(0.1, low=LOWEST_TEMPERATURE)  # tau_s, of the student
    teacher_temperature: float = option(0.04, low=LOWEST_TEMPERATURE)  # tau_t, of the teacher; below tau_s
    queue_size: int = option(131072, low=1)  # K, the teacher's embeddings of earlier batches


class ReSSL(TeacherStudent):
    """The student's relations of a strong view match the teacher's relations of a weak one."""

    config_class = ReSSLConfig
    num_views = 2

    def initialize_modules(self) -> None:
        """Create the backbone, the projector, their teacher and the queue."""
        super().initialize_modules()
        model = self.config.model
        self.criterion = ReSSLLoss(model.student_temperature, model.teacher_temperature, model.queue_size)

    def compute_loss(self) -> Tensor:
        """Return the ReSSL loss of the first view (strong) against the second (weak)."""
        strong, weak = self.views()
        return self.criterion(self.embed(strong), self.target(weak))
