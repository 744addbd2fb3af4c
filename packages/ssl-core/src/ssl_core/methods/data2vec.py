"""data2vec (Baevski, Hsu, Xu, Babu, Gu & Auli 2022, https://arxiv.org/abs/2202.03555), for images.

The student sees an image with masked blocks of patches and predicts, at their places, the mean of the teacher's last blocks for
the whole image. The targets depend on the context of the patch, and the teacher follows the student.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core.config import option
from ssl_core.errors import ConfigError
from ssl_core.methods.masked_image import MaskedImageConfig, MaskTokenModel
from ssl_core.modules.ema import Teacher
from ssl_core.modules.masks.patch_masks import block_mask
from ssl_losses import masked_feature_regression
from ssl_losses.precision import widened


@dataclass
class Data2VecConfig(MaskedImageConfig):
    """Keys of data2vec."""

    mask_ratio: float = option(0.6, low=0.0, below=1.0)  # share of patches that are masked, in blocks
    momentum: float = option(0.9998, low=0.0, high=1.0)  # tau, momentum of the teacher; lower in short runs
    final_momentum: float = option(0.9998, low=0.0, high=1.0)  # tau at the end, reached linearly
    top_blocks: int = option(6, low=1)  # K, last blocks whose mean is the target
    beta: float = option(2.0, low=0.0)  # threshold of the smooth L1 distance


class Data2Vec(MaskTokenModel):
    """The student predicts the mean of the teacher's last blocks at masked patches."""

    config_class = Data2VecConfig

    def initialize_modules(self) -> None:
        """Create the encoder, its teacher, the mask token and the linear predictor."""
        super().initialize_modules()
        model, width = self.config.model, self.backbone.num_features
        if model.top_blocks > len(self.backbone.blocks):
            raise ConfigError(
                key="model.top_blocks",
                value=model.top_blocks,
                expected=f"at most the {len(self.backbone.blocks)} blocks of model.backbone={model.backbone!r}",
            )
        self.teacher = Teacher(self.backbone, model.momentum, model.final_momentum, ramp="linear")
        self.predictor = nn.Linear(width, width)

    def compute_loss(self) -> Tensor:
        """Return the smooth L1 distance to the mean of the teacher's last blocks, each normalised."""
        images, model, backbone = self.data.views[0], self.config.model, self.backbone
        seed = self.config.hardware.seed
        mask = block_mask(self.data.ids, backbone.grid, model.mask_ratio, seed, self.progress.epoch)
        blocks = self.teacher.intermediate_tokens(images, range(-model.top_blocks, 0))
        target = torch.stack([F.layer_norm(block, block.shape[2:]) for block in widened(blocks)]).mean(0)
        prediction = self.predictor(self.encode_masked(images, mask))
        return masked_feature_regression(prediction, self.patch_tokens(target), mask, model.beta)
