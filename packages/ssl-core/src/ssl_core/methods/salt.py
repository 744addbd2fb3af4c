"""SALT (Li, Huang, Li, Malach, Susskind, Thilak & Littwin 2025, https://arxiv.org/abs/2509.24317), for images.

In the first run an encoder learns to predict the pixels of target blocks from a context block. In the second run it is the
teacher, and is frozen: a new encoder predicts the teacher's features of the target blocks. A teacher that does not move cannot
collapse, so that no momentum has to be tuned and a small loss means good predictions.
"""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.checkpoint.pretrained import load_backbone
from ssl_core.errors import ConfigError
from ssl_core.methods.block_prediction import BlockPredictionConfig, BlockPredictionModel
from ssl_core.methods.masked_image import all_masked
from ssl_core.methods.pixel_reconstruction import Reconstruction, of_all_patches, reconstruct
from ssl_core.modules.ema import Teacher
from ssl_losses import masked_feature_regression, masked_reconstruction, patchify


@dataclass
class SALTConfig(BlockPredictionConfig):
    """Keys of SALT."""

    teacher: str = ""  # run folder or weights of the first run; "": this is the first run, which trains the teacher

    def check(self) -> None:
        """Raise a ConfigError for initial weights of a student."""
        super().check()
        if self.teacher and self.init_from:
            raise ConfigError(
                "the student of a frozen teacher starts at random weights",
                key="model.init_from",
                value=self.init_from,
                expected="null, or model.teacher=''",
            )


class SALT(BlockPredictionModel):
    """A predictor predicts pixels (first run), or the features of a frozen teacher (second run).

    The paper trains on videos, with the masks of V-JEPA; here are images, with those of I-JEPA. Its teacher may be smaller than
    the student; here both have the size of ``model.backbone``.
    """

    config_class = SALTConfig

    def initialize_modules(self) -> None:
        """Create the encoder, the predictor and, in the second run, the teacher."""
        super().initialize_modules()
        width, pixels = self.backbone.num_features, self.backbone.patch_size**2 * self.image_shape[0]
        if self.config.model.teacher:
            self.teacher = Teacher(self.backbone, momentum=1.0)  # it never moves
        self.predictor = self.build_predictor(width if self.config.model.teacher else pixels)

    def build(self) -> None:
        """Create the modules, and load the weights of the teacher unless the run resumes: a checkpoint has them."""
        super().build()
        source = self.config.model.teacher
        if source and not self.run.checkpoints.all():
            self.run.summary.note(teacher=load_backbone(self.teacher.model, source, key="model.teacher"))

    def compute_loss(self) -> Tensor:
        """Return the squared error of normalised pixels, or the absolute distance to the teacher's normalised features."""
        images = self.data.views[0]
        prediction, blocks = self.predict_blocks()
        if not self.config.model.teacher:
            target = self.take_blocks(patchify(images, self.backbone.patch_size), blocks)
            return masked_reconstruction(prediction, target, all_masked(target))
        target = self.take_blocks(self.patch_tokens(self.teacher.tokens(images)), blocks)
        return masked_feature_regression(prediction, target, beta=0.0)

    def reconstruct_pixels(self) -> Reconstruction | None:
        """Return the reconstruction of the first view of ``self.data``; None in the second run, which predicts features.

        Called by an evaluation with pictures. The target blocks overlap: a patch of several is that of one of them.
        """
        if self.config.model.teacher:
            return None
        images, grid, size = self.data.views[0], self.backbone.grid, self.backbone.patch_size
        prediction, blocks = self.predict_blocks()
        rows = prediction.reshape(len(images), -1, prediction.shape[2]), blocks.reshape(len(images), -1)
        return reconstruct(images, *of_all_patches(*rows, grid[0] * grid[1]), grid, size, is_normalized=True)
