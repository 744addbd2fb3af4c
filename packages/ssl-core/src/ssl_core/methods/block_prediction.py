"""Base class of the methods that predict blocks of patches from a context block."""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.masked_image import MaskedImageModel, PatchConfig, take
from ssl_core.modules.masks.multi_block import multi_block_mask
from ssl_core.modules.transformer.patch_predictor import PatchPredictor


@dataclass
class BlockPredictionConfig(PatchConfig):
    """Keys of the methods that predict target blocks."""

    predictor_width: int = option(384, low=4)  # width of the predictor's tokens
    predictor_depth: int = option(6, low=1)  # blocks of the predictor; I-JEPA's 12 for a ViT-L
    predictor_heads: int = option(6, low=1)  # attention heads of a block
    num_targets: int = option(4, low=1)  # target blocks of an image


class BlockPredictionModel(MaskedImageModel):
    """A narrow predictor predicts each of T target blocks from the tokens of one context block."""

    config_class: type[BlockPredictionConfig] = BlockPredictionConfig
    predictor: PatchPredictor  # of the method: build_predictor

    def build_predictor(self, outputs: int) -> PatchPredictor:
        """Return a predictor with ``outputs`` numbers for each patch."""
        model = self.config.model
        sizes = model.predictor_width, model.predictor_depth, model.predictor_heads
        return PatchPredictor(self.backbone.grid, self.backbone.num_features, outputs, *sizes)

    def predict_blocks(self) -> tuple[Tensor, Tensor]:
        """Return the predictions ``(N T, S, D)`` of the target blocks, and their patches ``(N T, S) int64``.

        Each target block is predicted alone.
        """
        context, targets = multi_block_mask(
            self.data.ids,
            self.backbone.grid,
            self.config.hardware.seed,
            self.progress.epoch,
            self.config.model.num_targets,
        )
        repeats, blocks = targets.shape[1], targets.flatten(0, 1)
        tokens = self.tokens(self.data.views[0], keep=context).repeat_interleave(repeats, dim=0)
        return self.predictor(tokens, context.repeat_interleave(repeats, dim=0), blocks), blocks

    def take_blocks(self, patches: Tensor, blocks: Tensor) -> Tensor:
        """Return the patches of target blocks ``(N T, S, D)`` among all patches ``(N, L, D)``, as targets."""
        return take(patches, blocks.reshape(len(patches), -1)).view(*blocks.shape, -1)
