"""CMAE (Huang, Jin, Lu, Hou, Cheng, Fu, Shen & Feng 2022, https://arxiv.org/abs/2207.13532).

MAE with a second task: from the visible patches, a second decoder predicts features of the whole image, and their mean has to
find the teacher's embedding of the same image among those of the batch. The teacher sees all patches of a view that is shifted
by less than a patch or two, so that both views have the same content.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_core.config import option
from ssl_core.errors import ConfigError
from ssl_core.methods.joint_embedding import ComparingConfig
from ssl_core.methods.mae import MAEConfig
from ssl_core.methods.masked_image import MaskedImageModel, all_masked, take
from ssl_core.methods.pixel_reconstruction import Reconstruction, of_all_patches, reconstruct
from ssl_core.methods.requirements import check_layers
from ssl_core.modules.ema import Teacher
from ssl_core.modules.heads import mlp
from ssl_core.modules.masks.patch_masks import num_masked, random_mask, split_mask
from ssl_core.modules.random_numbers import Stream, uniform
from ssl_core.modules.transformer.patch_predictor import PatchPredictor
from ssl_losses import masked_reconstruction, moco_v3, patchify
from ssl_losses.checks import LOWEST_TEMPERATURE


@dataclass
class CMAEConfig(MAEConfig, ComparingConfig):
    """Keys of CMAE. Those of the decoder are for the pixels."""

    shift_patches: int = option(1, low=1)  # the views are this many patches smaller; the authors' 2: 224 of 256 pixels
    feature_decoder_depth: int = option(2, low=1)  # blocks of the feature decoder
    projector: list[int] = option([1536, 256], low=1)  # widths of the projector's layers
    predictor: list[int] = option([1536], low=1)  # widths of the predictor's hidden layers
    momentum: float = option(0.996, low=0.0, high=1.0)  # mu, momentum of the teacher
    final_momentum: float = option(0.996, low=0.0, high=1.0)  # mu at the end of the run, reached on half a cosine
    temperature: float = option(0.07, low=LOWEST_TEMPERATURE)  # tau, temperature of the similarities
    contrast: float = option(1.0, low=0.0)  # lambda_c, weight of the contrastive loss

    def check(self) -> None:
        """Raise a ConfigError for a projector without layers."""
        super().check()
        check_layers("model.projector", self.projector, [1536, 256])


class CMAE(MaskedImageModel):
    """MAE and a contrastive loss against a teacher that sees the whole, shifted image."""

    config_class = CMAEConfig

    def initialize_modules(self) -> None:
        """Create the encoder, both decoders, projector and predictor, and the teachers of encoder and projector."""
        super().initialize_modules()
        model, encoder = self.config.model, self.backbone
        self.grid = encoder.grid[0] - model.shift_patches, encoder.grid[1] - model.shift_patches
        if min(self.grid) < 2:
            most = f"at most {min(encoder.grid) - 2}: an image has {encoder.grid[0]} x {encoder.grid[1]} patches"
            raise ConfigError(key="model.shift_patches", value=model.shift_patches, expected=most)
        width, pixels = encoder.num_features, encoder.patch_size**2 * self.image_shape[0]
        widths = model.decoder_width, model.decoder_depth, model.decoder_heads
        self.decoder = PatchPredictor(self.grid, width, pixels, *widths)
        widths = model.decoder_width, model.feature_decoder_depth, model.decoder_heads
        self.feature_decoder = PatchPredictor(self.grid, width, width, *widths)
        self.projector = mlp([width, *model.projector])
        self.predictor = mlp([model.projector[-1], *model.predictor, model.projector[-1]])
        self.teacher = Teacher(encoder, model.momentum, model.final_momentum)
        self.projector_teacher = Teacher(self.projector, model.momentum, model.final_momentum)

    def compute_loss(self) -> dict[str, Tensor]:
        """Return the squared error of masked patches, and the contrastive loss multiplied by 2 tau as in the authors' code."""
        ids, model, size = self.data.ids, self.config.model, self.backbone.patch_size
        seed, epoch = self.config.hardware.seed, self.progress.epoch
        images = shifted(self.data.views[0], self.grid, size, torch.zeros_like(ids), torch.zeros_like(ids))
        # The authors also change the colours of the teacher's view; here the views are cut out of one view of the data
        offsets = (uniform(ids, 2, seed, epoch, Stream.SHIFT) * model.shift_patches * size).long()
        target_images = shifted(self.data.views[0], self.grid, size, *offsets.T)
        mask = random_mask(ids, self.grid, model.mask_ratio, seed, epoch)
        keep, drop, _ = split_mask(mask, num_masked(self.grid, model.mask_ratio))
        tokens = self.tokens(images, keep=keep)
        target = take(patchify(images, size), drop)
        pixels = self.decoder(tokens, keep, drop)
        features = self.feature_decoder(tokens, keep, drop, visible=True).mean(1)
        query = self.predictor(self.projector(features))
        everything = self.teacher.intermediate_tokens(target_images, [-1])[0]  # before the last norm, as the authors
        key = self.projector_teacher(self.patch_tokens(everything).mean(1))
        contrast = moco_v3(query, query, key, key, temperature=model.temperature) / 2  # two equal directions
        return {
            "reconstruction": masked_reconstruction(pixels, target, all_masked(target), model.normalize_target),
            "contrast": model.contrast * contrast,
        }

    def reconstruct_pixels(self) -> Reconstruction:
        """Return the reconstruction of the first view of ``self.data``. Called by an evaluation with pictures."""
        ids, model, size, grid = self.data.ids, self.config.model, self.backbone.patch_size, self.grid
        images = shifted(self.data.views[0], grid, size, torch.zeros_like(ids), torch.zeros_like(ids))
        mask = random_mask(ids, grid, model.mask_ratio, self.config.hardware.seed, self.progress.epoch)
        keep, drop, _ = split_mask(mask, num_masked(grid, model.mask_ratio))
        prediction, mask = of_all_patches(self.decoder(self.tokens(images, keep=keep), keep, drop), drop, mask.shape[1])
        return reconstruct(images, prediction, mask, grid, size, model.normalize_target)


def shifted(images: Tensor, grid: tuple[int, int], patch_size: int, top: Tensor, left: Tensor) -> Tensor:
    """Return the part of ``grid`` patches of each image ``(N, C, H, W)`` that begins at ``top``, ``left`` ``(N,) int64``."""
    rows = top[:, None] + torch.arange(grid[0] * patch_size, device=images.device)
    columns = left[:, None] + torch.arange(grid[1] * patch_size, device=images.device)
    sample = torch.arange(len(images), device=images.device)[:, None, None]
    return images[sample, :, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)
