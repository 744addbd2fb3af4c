"""AIM (El-Nouby, Klein, Zhai, Bautista, Toshev, Shankar, Susskind & Joulin 2024, https://arxiv.org/abs/2401.08541).

Each patch predicts the normalised pixels of the next one, row by row, from itself and the patches before it. Patches of a
prefix of random length see each other in both directions, so that the encoder can be used with attention to all patches
later. A deep head of MLPs does the prediction and is dropped after training.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.autoregressive_image import AutoregressiveConfig, AutoregressiveModel
from ssl_core.methods.pixel_reconstruction import Reconstruction, reconstruct
from ssl_core.modules.transformer.autoregressive import ResidualMLP, causal_attention, prefix_lengths
from ssl_losses import masked_reconstruction, patchify


@dataclass
class AIMConfig(AutoregressiveConfig):
    """Keys of AIM."""

    head_width: int = option(2048, low=1)  # width of the prediction head
    head_depth: int = option(12, low=1)  # MLPs of the prediction head
    normalize_target: bool = True  # whether each patch is normalised by its mean and variance


class AIM(AutoregressiveModel):
    """A causal encoder with a random prefix predicts the pixels of the next patch."""

    config_class = AIMConfig

    def initialize_modules(self) -> None:
        """Create the encoder and the prediction head."""
        super().initialize_modules()
        model, encoder = self.config.model, self.backbone
        pixels = encoder.patch_size**2 * self.image_shape[0]
        self.head = ResidualMLP(encoder.num_features, pixels, model.head_width, model.head_depth)

    def compute_loss(self) -> Tensor:
        """Return the squared error of the patches after the prefix: those inside it are seen by their predictors."""
        prediction, after = self.predict_next()
        target = patchify(self.data.views[0], self.backbone.patch_size)
        # The mean over all predicted patches of the batch; each image has another number of them
        normalize = self.config.model.normalize_target
        return masked_reconstruction(prediction[:, :-1], target[:, 1:], after, normalize_target=normalize)

    def predict_next(self) -> tuple[Tensor, Tensor]:
        """Return the prediction of the patch after each one, ``(N, L, p p C)``, and which of patches 1 to L - 1 are after
        the prefix, ``(N, L - 1) bool``.
        """
        images, length = self.data.views[0], self.backbone.grid[0] * self.backbone.grid[1]
        prefix = prefix_lengths(self.data.ids, length, self.config.hardware.seed, self.progress.epoch)
        prediction = self.head(self.tokens(images, attend=causal_attention(length, prefix)))
        return prediction, torch.arange(1, length, device=images.device) >= prefix[:, None]

    def reconstruct_pixels(self) -> Reconstruction:
        """Return the first view of ``self.data`` with each patch after the prefix as predicted from the true ones before it.

        Called by an evaluation with pictures.
        """
        prediction, after = self.predict_next()
        mask = torch.cat([torch.zeros_like(after[:, :1]), after], dim=1)
        sizes, normalize = (self.backbone.grid, self.backbone.patch_size), self.config.model.normalize_target
        return reconstruct(self.data.views[0], prediction.roll(1, dims=1), mask, *sizes, normalize)
