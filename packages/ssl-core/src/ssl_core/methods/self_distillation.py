"""Base class of DINO and its successors: a student on all views, a teacher on the global ones, and a head with prototypes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from ssl_core.config import option
from ssl_core.methods.backbone_method import BackboneMethod
from ssl_core.methods.teacher_student import TeacherConfig
from ssl_core.modules.ema import Teacher
from ssl_core.modules.heads import Prototypes, dino_head
from ssl_core.modules.multi_crop import forward_by_size
from ssl_core.optimizers import other_parameters
from ssl_core.schedules import linear_ramp
from ssl_losses import DINOLoss
from ssl_losses.checks import LOWEST_TEMPERATURE
from ssl_losses.components.center import CENTERINGS


@dataclass
class SelfDistillationConfig(TeacherConfig):
    """Keys of DINO and its successors."""

    projector: list[int] = option([2048, 2048, 256], low=1)  # widths of the head's layers, the last is the bottleneck
    num_prototypes: int = option(65536, low=1)  # K, outputs of the head
    learn_norm: bool = False  # learn the norms of the prototypes (norm_last_layer=False of the authors)
    freeze_last_layer: int = option(1, low=0)  # first epochs in which the prototypes are frozen
    momentum: float = option(0.996, low=0.0, high=1.0)  # lambda, momentum of the teacher; higher for small batches
    student_temperature: float = option(0.1, low=LOWEST_TEMPERATURE)  # tau_s, of the student's outputs
    teacher_temperature: float = option(0.07, low=LOWEST_TEMPERATURE)  # tau_t, after the warm-up
    warmup_teacher_temperature: float = option(0.04, low=LOWEST_TEMPERATURE)  # tau_t, at the start
    teacher_temperature_warmup_epochs: float = option(30.0, low=0.0)  # epochs of its linear warm-up
    centering: str = option("mean", choices=CENTERINGS)  # centring of the teacher's outputs
    center_momentum: float = option(0.9, low=0.0, high=1.0)  # m of the centre C
    global_views: int = option(2, low=1)  # first views, which the teacher sees; the others are local


class SelfDistillation(BackboneMethod):
    """A student learns the teacher's outputs. Subclasses define ``compute_loss``.

    The representation ``teacher`` is evaluated too: it is the encoder that the papers use.
    """

    config_class: type[SelfDistillationConfig] = SelfDistillationConfig
    num_views: ClassVar[int | None] = None  # two or more
    min_views = 2
    multi_crop = True

    def initialize_modules(self) -> None:
        """Create the backbone, the head, their teachers and the loss of the class tokens."""
        super().initialize_modules()
        model = self.config.model
        self.head = self.make_head()
        self.teacher, self.teacher_head = self.make_teacher(self.backbone), self.make_teacher(self.head)
        self.criterion = DINOLoss(
            model.num_prototypes,
            model.student_temperature,
            model.teacher_temperature,
            model.center_momentum,
            model.centering,
        )

    def make_head(self) -> nn.Sequential:
        """Return a head: features ``(..., D)`` to ``(..., K)``."""
        model = self.config.model
        return dino_head([self.backbone.num_features, *model.projector], model.num_prototypes, model.learn_norm)

    def make_teacher(self, student: nn.Module) -> Teacher:
        """Return the teacher of a module."""
        return Teacher(student, self.config.model.momentum, self.config.model.final_momentum)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the prototypes, which are frozen at first, and everything else."""
        layers = [each for each in self.modules() if isinstance(each, Prototypes) and each.weight.requires_grad]
        last = [parameter for layer in layers for parameter in layer.parameters()]
        frozen = {"params": last, "frozen_epochs": self.config.model.freeze_last_layer}
        return [{"params": other_parameters(self, last)}, frozen]

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        """Return the features of the student's and of the teacher's backbone, ``(N, D)`` each."""
        return super().encode(x) | {"teacher": self.teacher(x)}

    def temperature(self) -> float:
        """Return tau_t at this optimizer step."""
        model = self.config.model
        # Deviation: it rises with every step, in the authors' code once an epoch
        steps = round(model.teacher_temperature_warmup_epochs * self.run.plan.steps_per_epoch)
        return linear_ramp(self.progress.step, steps, model.warmup_teacher_temperature, model.teacher_temperature)

    def class_loss(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """Return DINO's loss of features ``(N, D)``: those of all views (student), and of the global ones (teacher).

        The head sees the rows of all views in one pass.
        """
        outputs = forward_by_size(self.head, student)
        return self.criterion(outputs, forward_by_size(self.teacher_head, teacher), self.temperature())
