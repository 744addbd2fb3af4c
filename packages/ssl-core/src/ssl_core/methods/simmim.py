"""SimMIM (Xie, Zhang, Cao, Lin, Bao, Yao, Dai & Hu 2022, https://arxiv.org/abs/2111.09886).

Masked patches are replaced by a mask token and pass through the whole encoder. One linear layer predicts their raw pixels, with
the absolute error.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from ssl_core.config import option
from ssl_core.methods.masked_image import MaskedImageConfig, MaskTokenModel
from ssl_core.methods.pixel_reconstruction import Reconstruction, reconstruct
from ssl_core.modules.masks.patch_masks import random_mask
from ssl_losses import masked_reconstruction, patchify


@dataclass
class SimMIMConfig(MaskedImageConfig):
    """Keys of SimMIM."""

    mask_ratio: float = option(0.6, low=0.0, below=1.0)  # share of patches that are masked


class SimMIM(MaskTokenModel):
    """A linear layer predicts the pixels of masked patches."""

    config_class = SimMIMConfig

    def initialize_modules(self) -> None:
        """Create the encoder, the mask token and the linear decoder."""
        super().initialize_modules()
        self.decoder = nn.Linear(self.backbone.num_features, self.backbone.patch_size**2 * self.image_shape[0])

    def compute_loss(self) -> Tensor:
        """Return the absolute error of the masked patches.

        The paper masks squares of 32 pixels, which are 2 x 2 patches of its Swin Transformer; here single patches.
        """
        prediction, mask = self.predict_patches()
        target = patchify(self.data.views[0], self.backbone.patch_size)
        return masked_reconstruction(prediction, target, mask, normalize_target=False, distance="absolute")

    def predict_patches(self) -> tuple[Tensor, Tensor]:
        """Return the predictions ``(N, L, p p C)`` of all patches, and which ones are masked, ``(N, L) bool``."""
        ratio, seed = self.config.model.mask_ratio, self.config.hardware.seed
        mask = random_mask(self.data.ids, self.backbone.grid, ratio, seed, self.progress.epoch)
        return self.decoder(self.encode_masked(self.data.views[0], mask)), mask

    def reconstruct_pixels(self) -> Reconstruction:
        """Return the reconstruction of the first view of ``self.data``. Called by an evaluation with pictures."""
        sizes = self.backbone.grid, self.backbone.patch_size
        return reconstruct(self.data.views[0], *self.predict_patches(), *sizes, is_normalized=False)
