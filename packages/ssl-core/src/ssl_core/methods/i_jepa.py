"""I-JEPA (Assran, Duval, Misra, Bojanowski, Vincent, Rabbat, LeCun & Ballas 2023, https://arxiv.org/abs/2301.08243).

From the tokens of one context block, a narrow predictor predicts the teacher's features of four target blocks of that image.
The targets are features, not pixels, and no augmentation is needed but a crop.
"""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.masked_image import MaskedImageConfig, MaskedImageModel, take
from ssl_core.modules.ema import Teacher
from ssl_core.modules.masks import multi_block_mask
from ssl_core.modules.patch_predictor import PatchPredictor
from ssl_losses import masked_feature_regression


@dataclass
class IJEPAConfig(MaskedImageConfig):
    """Keys of I-JEPA."""

    momentum: float = option(0.996, low=0.0, high=1.0)  # m of the teacher at the start of the run
    final_momentum: float = option(1.0, low=0.0, high=1.0)  # m at its end, reached linearly
    predictor_width: int = option(384, low=4)  # width of the predictor's tokens
    predictor_depth: int = option(6, low=1)  # blocks of the predictor; the paper's 12 for a ViT-L
    predictor_heads: int = option(6, low=1)  # attention heads of a block
    num_targets: int = option(4, low=1)  # target blocks of an image


class IJEPA(MaskedImageModel):
    """A predictor predicts the teacher's features of target blocks from a context block."""

    config_class = IJEPAConfig

    def initialize_modules(self) -> None:
        """Create the encoder, its teacher and the predictor."""
        super().initialize_modules()
        model, width = self.config.model, self.backbone.num_features
        self.teacher = Teacher(self.backbone, model.momentum, model.final_momentum, ramp="linear")
        sizes = model.predictor_width, model.predictor_depth, model.predictor_heads
        self.predictor = PatchPredictor(self.backbone.grid, width, width, *sizes)

    def compute_loss(self) -> Tensor:
        """Return the smooth L1 distance to the teacher's normalised features."""
        images, ids = self.data.views[0], self.data.ids
        context, targets = multi_block_mask(
            ids, self.backbone.grid, self.config.hardware.seed, self.progress.epoch, self.config.model.num_targets
        )
        features = self.patch_tokens(self.teacher.tokens(images))
        blocks = targets.flatten(0, 1)  # (N T, S): each target block is predicted alone
        repeats = targets.shape[1]
        tokens = self.backbone.tokens(images, keep=context).repeat_interleave(repeats, dim=0)
        prediction = self.predictor(tokens, context.repeat_interleave(repeats, dim=0), blocks)
        return masked_feature_regression(prediction, take(features.repeat_interleave(repeats, dim=0), blocks))
