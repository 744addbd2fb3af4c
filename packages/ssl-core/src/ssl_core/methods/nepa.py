"""NEPA (Xu, Ma, Chai, Chen, Jin, Chai, Xie & Yu 2025, https://arxiv.org/abs/2512.16922).

Each patch predicts the embedding of the next one, row by row, from itself and the patches before it. The embedding is that of
the patch projection, the layer below the transformer, and no gradient flows into the target. There is no decoder, no teacher,
no mask and no second view.
"""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.methods.autoregressive_image import AutoregressiveConfig, AutoregressiveModel
from ssl_core.modules.transformer.autoregressive import causal_attention
from ssl_losses import negative_cosine_similarity


@dataclass
class NEPAConfig(AutoregressiveConfig):
    """Keys of NEPA."""


class NEPA(AutoregressiveModel):
    """A causal encoder predicts the embedding of the next patch.

    The authors' ViT has rotary positions, layer scale, SwiGLU and normalised queries and keys; here it is that of
    ``model.backbone``. Its positions are added to the embeddings, and are not part of the target: they are known.
    """

    config_class = NEPAConfig

    def compute_loss(self) -> Tensor:
        """Return the negative cosine similarity of the predicted and the next embedding."""
        images, encoder = self.data.views[0], self.backbone
        target = encoder.patch_embeddings(images)[:, 1:]
        prediction = self.tokens(images, attend=causal_attention(target.shape[1] + 1, device=images.device))[:, :-1]
        return negative_cosine_similarity(prediction.flatten(0, 1), target.flatten(0, 1))
