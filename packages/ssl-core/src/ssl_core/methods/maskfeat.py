"""MaskFeat (Wei, Fan, Xie, Wu, Yuille & Feichtenhofer 2022, https://arxiv.org/abs/2112.09133), for images.

Blocks of patches are replaced by a mask token and pass through the whole encoder. One linear layer predicts the histograms of
oriented gradients (HOG) of the masked patches. HOG describes shapes and is invariant to local contrast, which pixels are not,
and it needs no teacher and no tokenizer.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from ssl_core.config import option
from ssl_core.errors import ConfigError
from ssl_core.methods.masked_image import MaskedImageConfig, MaskTokenModel
from ssl_core.modules.masks.patch_masks import block_mask
from ssl_core.modules.pretext.hog import hog_of_patches
from ssl_losses import masked_reconstruction


@dataclass
class MaskFeatConfig(MaskedImageConfig):
    """Keys of MaskFeat."""

    mask_ratio: float = option(0.4, low=0.0, below=1.0)  # share of patches that are masked, in blocks
    cells: int = option(2, low=1)  # cells of a patch in each direction, of 8 pixels in the paper
    num_bins: int = option(9, low=1)  # bins of the orientation


class MaskFeat(MaskTokenModel):
    """A linear layer predicts the HOG features of masked patches."""

    config_class = MaskFeatConfig

    def initialize_modules(self) -> None:
        """Create the encoder, the mask token and the linear head."""
        super().initialize_modules()
        model, size = self.config.model, self.backbone.patch_size
        if size % model.cells:
            raise ConfigError(
                key="model.cells", value=model.cells, expected=f"a divisor of the patch size, {size} pixels"
            )
        self.head = nn.Linear(self.backbone.num_features, self.image_shape[0] * model.num_bins * model.cells**2)

    def compute_loss(self) -> Tensor:
        """Return the squared distance to the HOG features of the masked patches."""
        images, model, backbone = self.data.views[0], self.config.model, self.backbone
        seed = self.config.hardware.seed
        mask = block_mask(self.data.ids, backbone.grid, model.mask_ratio, seed, self.progress.epoch)
        prediction = self.head(self.encode_masked(images, mask))
        target = hog_of_patches(images, backbone.patch_size, model.cells, model.num_bins)
        return masked_reconstruction(prediction, target, mask, normalize_target=False)
