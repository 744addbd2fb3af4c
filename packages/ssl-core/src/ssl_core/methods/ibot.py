"""iBOT (Zhou, Wei, Wang, Shen, Xie, Yuille & Kong 2022, https://arxiv.org/abs/2111.07832).

DINO with masked patches: the student sees global views in which blocks of patches are replaced by a mask token, and at their
places predicts the teacher's distribution for the whole view. The teacher is an online tokenizer of patches, and the head is
shared by class token and patches.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ssl_core.config import option
from ssl_core.errors import ConfigError
from ssl_core.methods.masked_image import MaskedImageConfig, MaskedImageModel, pooled
from ssl_core.methods.self_distillation import SelfDistillation, SelfDistillationConfig
from ssl_core.modules.masks.patch_masks import block_mask, masked_ratios, view_ids
from ssl_core.modules.multi_crop import forward_by_size
from ssl_losses import IBOTLoss


@dataclass
class IBOTConfig(MaskedImageConfig, SelfDistillationConfig):
    """Keys of iBOT."""

    num_prototypes: int = option(8192, low=1)  # K, outputs of the head
    mask_ratio: float = option(0.3, low=0.0, below=1.0)  # r, mean share of masked patches in a view that has some
    mask_ratio_spread: float = option(0.2, low=0.0, below=1.0)  # r is uniform within this of mask_ratio
    mask_probability: float = option(0.5, low=0.0, high=1.0)  # probability of masks in a global view
    shared_head: bool = True  # one head for class token and patches

    def check(self) -> None:
        """Raise a ConfigError for ratios outside [0, 1)."""
        super().check()
        if not self.mask_ratio_spread <= self.mask_ratio < 1 - self.mask_ratio_spread:
            raise ConfigError(
                f"masks the share {self.mask_ratio} ± {self.mask_ratio_spread}",
                key="model.mask_ratio_spread",
                value=self.mask_ratio_spread,
                expected="shares of patches between 0 and 1",
            )


class IBOT(SelfDistillation, MaskedImageModel):
    """DINO's loss of the class tokens, and the same of masked patches."""

    config_class: type[IBOTConfig] = IBOTConfig
    assignment_loss = "class_loss", "num_prototypes"
    centers_all = True  # the centre is the mean of all patches, not of the masked ones

    def initialize_modules(self) -> None:
        """Create the backbone, the heads, their teachers, the mask token and both losses."""
        super().initialize_modules()
        model = self.config.model
        self.mask_token = nn.Parameter(torch.zeros(self.backbone.num_features))
        if not model.shared_head:
            self.patch_head = self.make_head()
            self.teacher_patch_head = self.make_teacher(self.patch_head)
        temperatures = model.student_temperature, model.teacher_temperature
        self.patch_criterion = IBOTLoss(model.num_prototypes, *temperatures, model.center_momentum, model.centering)

    def compute_loss(self) -> dict[str, Tensor]:
        """Return the loss of the class tokens and that of the masked patches."""
        return self.losses(*self.global_tokens())

    def global_tokens(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the student's and the teacher's tokens ``(G N, P + L, D)`` of G global views, and the masks ``(G N, L)``."""
        model, seed, epoch = self.config.model, self.config.hardware.seed, self.progress.epoch
        images = torch.cat(self.views()[: model.global_views])
        ids = view_ids(self.data.ids, model.global_views)
        low, high = model.mask_ratio - model.mask_ratio_spread, model.mask_ratio + model.mask_ratio_spread
        ratios = masked_ratios(ids, low, high, model.mask_probability, seed, epoch)
        mask = block_mask(ids, self.backbone.grid, ratios, seed, epoch)
        return self.tokens(images, mask=mask, mask_token=self.mask_token), self.teacher.tokens(images), mask

    def losses(self, student: Tensor, teacher: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Return both losses of the tokens of :meth:`global_tokens`."""
        count = self.config.model.global_views
        classes = pooled(self.backbone, student).chunk(count), pooled(self.teacher, teacher).chunk(count)
        local = forward_by_size(self.backbone, self.views()[count:])
        shared = self.config.model.shared_head
        head, teacher_head = (self.head, self.teacher_head) if shared else (self.patch_head, self.teacher_patch_head)
        targets = self.patch_tokens(teacher)
        patches = head(self.patch_tokens(student)[mask]), teacher_head(targets if self.centers_all else targets[mask])
        return {
            "class_loss": self.class_loss([*classes[0], *local], classes[1]),
            "patch_loss": self.patch_criterion(*patches, mask, self.temperature()),
        }
