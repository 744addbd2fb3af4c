"""DINOv2 (Oquab, Darcet, Moutakanni et al. 2024, https://arxiv.org/abs/2304.07193).

DINO's loss of the class tokens and iBOT's of masked patches, with a head for each. Targets are balanced by Sinkhorn-Knopp, and
the KoLeo regulariser spreads the class tokens of a batch. The authors train with layer decay and a rising weight decay.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.ibot import IBOT, IBOTConfig
from ssl_core.methods.masked_image import pooled
from ssl_core.optimizers import other_parameters
from ssl_losses import koleo
from ssl_losses.components.center import CENTERINGS


@dataclass
class DINOv2Config(IBOTConfig):
    """Keys of DINOv2."""

    num_prototypes: int = option(65536, low=1)  # K, outputs of a head
    momentum: float = option(0.992, low=0.0, high=1.0)  # momentum of the teacher at the start
    centering: str = option("sinkhorn", choices=CENTERINGS)  # centring; the authors' mean for ImageNet-1k
    shared_head: bool = False  # one head for class token and patches; true in the same configuration
    koleo: float = option(0.1, low=0.0)  # weight of KoLeo, of each global view
    patch_lr_scale: float = option(0.2, low=0.0)  # factor of the learning rate of the patch projection


class DINOv2(IBOT):
    """DINO, iBOT and KoLeo."""

    config_class = DINOv2Config
    centers_all = False

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the patch projection, with its own learning rate, the prototypes, and everything else."""
        _, last = super().parameter_groups()
        names = "patches.", "patch_embed."  # of our ViT, and of timm's
        patches = [parameter for name, parameter in self.backbone.named_parameters() if name.startswith(names)]
        rest = other_parameters(self, [*patches, *last["params"]])
        return [{"params": rest}, {"params": patches, "lr_scale": self.config.model.patch_lr_scale}, last]

    def losses(self, student: Tensor, teacher: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Return the losses of the class tokens, of the masked patches, and KoLeo of the class tokens of each view."""
        model = self.config.model
        classes = pooled(self.backbone, student).chunk(model.global_views)
        weight = model.koleo * model.global_views  # the authors add the views; koleo() is their mean
        return super().losses(student, teacher, mask) | {"koleo": weight * koleo(*classes)}
