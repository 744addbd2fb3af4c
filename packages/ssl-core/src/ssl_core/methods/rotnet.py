"""RotNet (Gidaris, Singh & Komodakis 2018, https://arxiv.org/abs/1803.07728).

Each image is rotated by 0, 90, 180 and 270 degrees, and a linear classifier on the backbone predicts the rotation. To do so the
backbone has to recognise objects and their parts. It is the simplest pretext task, and needs one view of an image.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core.errors import ConfigError
from ssl_core.methods.backbone_method import BackboneMethod
from ssl_core.modules.pretext.rotation import NUM_ROTATIONS, quarter_turns
from ssl_losses.distributed import mean_over_ranks
from ssl_losses.precision import widen


class RotNet(BackboneMethod):
    """The rotation of an image is classified."""

    def initialize_modules(self) -> None:
        """Create the backbone and the linear classifier of rotations."""
        super().initialize_modules()
        if self.image_shape[1] != self.image_shape[2]:
            raise ConfigError(f"model.name='rotnet': the images are {self.image_shape[1:]} pixels; expected squares")
        self.classifier = nn.Linear(self.backbone.num_features, NUM_ROTATIONS)

    def compute_loss(self) -> Tensor:
        """Return the cross-entropy of the rotations of the first view. All four rotations are in one batch, as in the paper."""
        images, turns = quarter_turns(self.data.views[0])
        logits = widen(self.classifier(self.backbone(images)))
        return mean_over_ranks(F.cross_entropy(logits, turns))
