"""EMP-SSL (Tong, Chen, Ma & LeCun 2023, https://arxiv.org/abs/2304.03977).

Many crops of fixed size of each image, whose embeddings agree with their mean while the coding rate of the batch is large.
With 20 to 200 crops an image a few epochs are enough. The paper evaluates the mean feature of many crops.
"""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.joint_embedding import JointEmbedding, JointEmbeddingConfig
from ssl_losses import emp_ssl


@dataclass
class EMPSSLConfig(JointEmbeddingConfig):
    """Keys of EMP-SSL."""

    projector: list[int] = option([4096, 4096, 1024], low=1)  # widths of the projector's layers, the last is D
    invariance: float = option(200.0, low=0.0)  # lambda, weight of the agreement of the views
    distortion: float = option(0.2, above=0.0)  # epsilon squared, of the coding rate


class EMPSSL(JointEmbedding):
    """The coding rate of a batch is maximised while the views of a sample agree."""

    config_class = EMPSSLConfig

    def embedding_loss(self, *embeddings: Tensor) -> Tensor:
        """Return the EMP-SSL loss."""
        model = self.config.model
        return emp_ssl(*embeddings, invariance=model.invariance, distortion=model.distortion)
