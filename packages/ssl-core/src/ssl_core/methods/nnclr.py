"""NNCLR (Dwibedi, Aytar, Tompson, Sermanet & Zisserman 2021, https://arxiv.org/abs/2104.14548).

SimCLR in which the positive of a view is not the other view, but the nearest neighbour of the other view among
embeddings of earlier batches. The neighbour is another image, so that more than augmentations count as the same. A
predictor is added as in BYOL.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.joint_embedding import JointEmbedding
from ssl_core.methods.teacher_student import PredictorConfig, predictor
from ssl_losses import NNCLRLoss
from ssl_losses.checks import LOWEST_TEMPERATURE


@dataclass
class NNCLRConfig(PredictorConfig):
    """Keys of NNCLR."""

    projector: list[int] = option([2048, 2048, 256], low=1)  # widths of the projector's layers, the last is D
    temperature: float = option(0.1, low=LOWEST_TEMPERATURE)  # tau, temperature of the similarities
    queue_size: int = option(98304, low=1)  # embeddings of earlier batches, among which the neighbours are


class NNCLR(JointEmbedding):
    """The nearest neighbour of one view is the positive of the other."""

    config_class = NNCLRConfig
    num_views = 2
    projector_options: ClassVar = {"last_norm": True}

    def initialize_modules(self) -> None:
        """Create the backbone, the projector, the predictor and the queue."""
        super().initialize_modules()
        self.predictor = predictor(self.config.model)
        self.criterion = NNCLRLoss(self.config.model.temperature, self.config.model.queue_size)

    def compute_loss(self) -> Tensor:
        """Return the NNCLR loss, the mean over both directions."""
        embeddings = self.embed_views()
        return self.criterion(*(self.predictor(z) for z in embeddings), *embeddings)
