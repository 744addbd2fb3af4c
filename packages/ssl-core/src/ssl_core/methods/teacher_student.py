"""Base class of the methods with a teacher, a predictor or both."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from ssl_core.config import option
from ssl_core.methods.joint_embedding import JointEmbedding, JointEmbeddingConfig
from ssl_core.modules.ema import Teacher
from ssl_core.modules.heads import mlp


@dataclass
class PredictorConfig(JointEmbeddingConfig):
    """Keys of the methods with a predictor."""

    predictor: list[int] = option([4096], low=1)  # widths of the predictor's hidden layers


@dataclass
class TeacherConfig(JointEmbeddingConfig):
    """Keys of the methods with a teacher."""

    momentum: float = option(0.99, low=0.0, high=1.0)  # m, momentum of the teacher at the start
    final_momentum: float = option(1.0, low=0.0, high=1.0)  # m at the end of the run, reached on half a cosine


class TeacherStudent(JointEmbedding):
    """A method whose targets come from a teacher.

    Subclasses define ``compute_loss`` with :meth:`embed` (student) and :meth:`target` (teacher). Gradients of the batches of
    an optimizer step are averaged.
    """

    ramp: ClassVar[str] = "cosine"  # of the teacher's momentum

    def initialize_modules(self) -> None:
        """Create the backbone, the projector and their teacher."""
        super().initialize_modules()
        model = self.config.model
        student = nn.Sequential(self.backbone, self.projector)
        self.teacher = Teacher(student, model.momentum, model.final_momentum, self.ramp)

    def target(self, view: Tensor) -> Tensor:
        """Return the teacher's embeddings ``(N, D)`` of a view ``(N, C, H, W)``, without a gradient."""
        with self.run.precision.autocast():
            return self.teacher(view)


def predictor(config: Any, **options: Any) -> nn.Sequential:
    """Return the predictor of a configuration: an :func:`~ssl_core.modules.heads.mlp` on the embeddings."""
    width = config.projector[-1]
    return mlp([width, *config.predictor, width], **options)
