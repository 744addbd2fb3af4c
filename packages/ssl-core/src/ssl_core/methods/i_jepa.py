"""I-JEPA (Assran, Duval, Misra, Bojanowski, Vincent, Rabbat, LeCun & Ballas 2023, https://arxiv.org/abs/2301.08243).

From the tokens of one context block, a narrow predictor predicts the teacher's features of four target blocks of that image.
The targets are features, not pixels, and no augmentation is needed but a crop.
"""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.block_prediction import BlockPredictionConfig, BlockPredictionModel
from ssl_core.modules.ema import Teacher
from ssl_losses import masked_feature_regression


@dataclass
class IJEPAConfig(BlockPredictionConfig):
    """Keys of I-JEPA."""

    momentum: float = option(0.996, low=0.0, high=1.0)  # m, momentum of the teacher at the start
    final_momentum: float = option(1.0, low=0.0, high=1.0)  # m at the end of the run, reached linearly


class IJEPA(BlockPredictionModel):
    """A predictor predicts the teacher's features of target blocks from a context block."""

    config_class = IJEPAConfig

    def initialize_modules(self) -> None:
        """Create the encoder, its teacher and the predictor."""
        super().initialize_modules()
        model = self.config.model
        self.teacher = Teacher(self.backbone, model.momentum, model.final_momentum, ramp="linear")
        self.predictor = self.build_predictor(self.backbone.num_features)

    def compute_loss(self) -> Tensor:
        """Return the smooth L1 distance to the teacher's normalised features."""
        prediction, blocks = self.predict_blocks()
        features = self.patch_tokens(self.teacher.tokens(self.data.views[0]))
        return masked_feature_regression(prediction, self.take_blocks(features, blocks))
