"""MAE (He, Chen, Xie, Li, Dollár & Girshick 2022, https://arxiv.org/abs/2111.06377).

Three quarters of the patches are masked. The encoder sees the others only, which makes a step cheap; a light decoder predicts
the pixels of the masked patches, each normalised by its own mean and variance. The decoder is dropped after training.
"""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.masked_image import MaskedImageConfig, MaskedImageModel, all_masked, take
from ssl_core.methods.pixel_reconstruction import Reconstruction, of_all_patches, reconstruct
from ssl_core.modules.masks.patch_masks import num_masked, random_mask, split_mask
from ssl_core.modules.transformer.patch_predictor import PatchPredictor
from ssl_losses import masked_reconstruction, patchify


@dataclass
class MAEConfig(MaskedImageConfig):
    """Keys of MAE."""

    decoder_width: int = option(512, low=4)  # width of the decoder's tokens
    decoder_depth: int = option(8, low=1)  # blocks of the decoder
    decoder_heads: int = option(16, low=1)  # attention heads of a block
    normalize_target: bool = True  # whether each patch is normalised by its mean and variance (norm_pix_loss)


class MAE(MaskedImageModel):
    """A light decoder reconstructs masked patches from the encoded visible ones."""

    config_class = MAEConfig

    def initialize_modules(self) -> None:
        """Create the encoder and the decoder."""
        super().initialize_modules()
        model, encoder = self.config.model, self.backbone
        pixels = encoder.patch_size**2 * self.image_shape[0]
        sizes = model.decoder_width, model.decoder_depth, model.decoder_heads
        self.decoder = PatchPredictor(encoder.grid, encoder.num_features, pixels, *sizes)

    def compute_loss(self) -> Tensor:
        """Return the squared error of the masked patches."""
        prediction, drop = self.predict_masked()
        target = take(patchify(self.data.views[0], self.backbone.patch_size), drop)
        return masked_reconstruction(prediction, target, all_masked(target), self.config.model.normalize_target)

    def predict_masked(self) -> tuple[Tensor, Tensor]:
        """Return the predictions ``(N, M, p p C)`` of the masked patches, and these patches ``(N, M) int64``."""
        images, model, grid = self.data.views[0], self.config.model, self.backbone.grid
        mask = random_mask(self.data.ids, grid, model.mask_ratio, self.config.hardware.seed, self.progress.epoch)
        keep, drop, _ = split_mask(mask, num_masked(grid, model.mask_ratio))
        return self.decoder(self.tokens(images, keep=keep), keep, drop), drop

    def reconstruct_pixels(self) -> Reconstruction:
        """Return the reconstruction of the first view of ``self.data``. Called by an evaluation with pictures."""
        grid, size = self.backbone.grid, self.backbone.patch_size
        prediction, mask = of_all_patches(*self.predict_masked(), grid[0] * grid[1])
        normalized = self.config.model.normalize_target
        return reconstruct(self.data.views[0], prediction, mask, grid, size, normalized)
