"""SimSiam (Chen & He 2021, https://arxiv.org/abs/2011.10566).

BYOL without a teacher: a predictor on the embedding of one view predicts the embedding of the other, through which no gradient
flows. The stop-gradient alone prevents collapse. The learning rate of the predictor is constant.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.joint_embedding import JointEmbedding
from ssl_core.methods.teacher_student import PredictorConfig, predictor
from ssl_core.optimizers import other_parameters
from ssl_losses import negative_cosine_similarity


@dataclass
class SimSiamConfig(PredictorConfig):
    """Keys of SimSiam."""

    projector: list[int] = option([2048, 2048, 2048], low=1)  # widths of the projector's layers, the last is D
    predictor: list[int] = option([512], low=1)  # widths of the predictor's hidden layers: a bottleneck


class SimSiam(JointEmbedding):
    """The prediction of one view matches the embedding of the other, which gets no gradient."""

    config_class = SimSiamConfig
    num_views: ClassVar[int | None] = 2
    projector_options: ClassVar = {"last_norm": True, "last_affine": False}

    def initialize_modules(self) -> None:
        """Create the backbone, the projector and the predictor."""
        super().initialize_modules()
        self.predictor = predictor(self.config.model)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the predictor as a group with a constant learning rate (section 4.2), and everything else."""
        head = list(self.predictor.parameters())
        return [{"params": other_parameters(self, head)}, {"params": head, "lr_schedule": "constant"}]

    def compute_loss(self) -> Tensor:
        """Return the negative cosine similarity, the mean over both directions."""
        embeddings = self.embed_views()
        return negative_cosine_similarity([self.predictor(z) for z in embeddings], embeddings)
