"""MSN (Assran, Caron, Misra, Bojanowski, Bordes, Vincent, Joulin, Rabbat & Ballas 2022, https://arxiv.org/abs/2204.07141).

An anchor view that lacks some of its patches, and small focal views, are assigned to the prototypes that the teacher assigns
the target view to. The entropy of the mean assignment is maximised, so that all prototypes are used. Dropped patches are not
computed.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.masked_image import MaskedImageConfig, MaskedImageModel, pooled
from ssl_core.methods.teacher_student import TeacherConfig, TeacherStudent
from ssl_core.modules.heads import truncated_normal
from ssl_core.modules.masks.patch_masks import num_masked, random_mask, split_mask, view_ids
from ssl_core.modules.multi_crop import forward_by_size
from ssl_core.optimizers import other_parameters
from ssl_core.schedules import linear_ramp
from ssl_losses import MSNLoss
from ssl_losses.checks import LOWEST_TEMPERATURE


@dataclass
class MaskedSiameseConfig(MaskedImageConfig, TeacherConfig):
    """Keys of MSN and PMSN."""

    projector: list[int] = option([2048, 2048, 256], low=1)  # widths of the projector's layers, the last is D
    momentum: float = option(0.996, low=0.0, high=1.0)  # m, momentum of the teacher at the start
    final_momentum: float = option(1.0, low=0.0, high=1.0)  # m at the end of the run, reached linearly
    mask_ratio: float = option(0.15, low=0.0, below=1.0)  # share of patches that anchors lack; 0.3 for a ViT-B
    num_prototypes: int = option(1024, low=1)  # K, prototypes
    temperature: float = option(0.1, low=LOWEST_TEMPERATURE)  # tau, temperature of the assignments
    target_sharpening: float = option(0.25, above=0.0, high=1.0)  # T, sharpening at the start of the run
    final_target_sharpening: float = option(0.25, above=0.0, high=1.0)  # T at the end, reached linearly


@dataclass
class MSNConfig(MaskedSiameseConfig):
    """Keys of MSN."""

    sinkhorn_iterations: int = option(3, low=0)  # iterations that balance the targets; 0: none
    mean_entropy: float = option(1.0, low=0.0)  # lambda, weight of the entropy of the mean assignment


class MSN(TeacherStudent, MaskedImageModel):
    """The first view is the target. The others are anchors: those of the same size lack patches, smaller ones are focal."""

    config_class: type[MaskedSiameseConfig] = MSNConfig
    assignment_loss: ClassVar[tuple[str, str] | None] = "loss", "num_prototypes"
    num_views: ClassVar[int | None] = None  # the target view and one anchor or more
    min_views = 2
    multi_crop = True
    projector_options: ClassVar = {"activation": "gelu"}
    ramp = "linear"

    def initialize_modules(self) -> None:
        """Create the backbone, the projector, their teacher and the loss with its prototypes."""
        super().initialize_modules()
        truncated_normal(self.projector)
        self.teacher.restart()
        self.criterion = self.make_loss()

    def make_loss(self) -> MSNLoss:
        """Return the loss."""
        model = self.config.model
        sizes = model.num_prototypes, model.projector[-1]
        options = model.temperature, model.target_sharpening, model.sinkhorn_iterations, model.mean_entropy
        return MSNLoss(*sizes, *options)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the prototypes, which have no weight decay, and everything else."""
        prototypes = self.criterion.prototypes
        return [{"params": other_parameters(self, [prototypes])}, {"params": prototypes, "weight_decay": 0.0}]

    def compute_loss(self) -> Tensor:
        """Return the loss of the anchors' assignments."""
        model = self.config.model
        target, *anchors = self.views()
        large = [view for view in anchors if view.shape == target.shape]
        focal = [view for view in anchors if view.shape != target.shape]
        embeddings = [*forward_by_size(self.embed_masked, large), *forward_by_size(self.embed, focal)]
        # Deviation: the authors' ramps of T and of the momentum end at 1.25 times the length of the run
        ends = model.target_sharpening, model.final_target_sharpening
        sharpening = linear_ramp(self.progress.step, self.run.plan.total_steps, *ends)
        return self.criterion(embeddings, self.target(target), sharpening)

    def embed_masked(self, images: Tensor) -> Tensor:
        """Return the embeddings of views that lack patches.

        Deviation: each view lacks other patches; in the authors' code all views of a batch lack the same.
        """
        grid, ratio = self.backbone.grid, self.config.model.mask_ratio
        ids = view_ids(self.data.ids, len(images) // len(self.data.ids))
        mask = random_mask(ids, grid, ratio, self.config.hardware.seed, self.progress.epoch)
        keep = split_mask(mask, num_masked(grid, ratio)).keep
        features = pooled(self.backbone, self.backbone.tokens(images, keep=keep))
        self.probes.observe("backbone", features)
        return self.projector(features)
