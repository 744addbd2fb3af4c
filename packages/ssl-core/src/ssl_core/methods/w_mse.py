"""W-MSE (Ermolov, Siarohin, Sangineto & Sebe 2021, https://arxiv.org/abs/2007.06346).

The embeddings of each view are whitened over parts of the batch, and the whitened embeddings of the views of an image
are brought together by their squared distance. Whitened embeddings have the identity as covariance and cannot collapse,
so that neither negatives nor a teacher is needed.
"""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.config import OptimConfig, option
from ssl_core.errors import ConfigError
from ssl_core.methods.joint_embedding import JointEmbedding, JointEmbeddingConfig
from ssl_losses import w_mse


@dataclass
class WMSEConfig(JointEmbeddingConfig):
    """Keys of W-MSE."""

    projector: list[int] = option([1024, 64], low=1)  # widths of the projector's layers, the last is D
    whitening_size: int = option(128, low=2)  # samples whitened together; more than D of them

    def check(self) -> None:
        """Raise a ConfigError if the covariance matrix that is inverted would be singular."""
        super().check()
        if self.whitening_size <= self.projector[-1]:
            raise ConfigError(
                key="model.whitening_size",
                value=self.whitening_size,
                expected=f"more samples than the {self.projector[-1]} dimensions of the embedding (model.projector="
                f"{self.projector}); twice as many are usual",
            )

    def check_batch(self, optim: OptimConfig) -> None:
        """Raise a ConfigError if an optimizer step has fewer samples than are whitened together."""
        super().check_batch(optim)
        samples = optim.batch_size * optim.accumulation_steps
        if optim.epochs and samples < self.whitening_size:
            batches = f" in optim.accumulation_steps={optim.accumulation_steps}" if optim.accumulation_steps > 1 else ""
            raise ConfigError(
                key="optim.batch_size",
                value=optim.batch_size,
                expected=f"at least model.whitening_size={self.whitening_size} samples{batches}; raise the batch size, or "
                "lower model.whitening_size and the last width of model.projector",
            )


class WMSE(JointEmbedding):
    """The distance between the views after whitening the batch, which excludes collapse by construction."""

    config_class = WMSEConfig

    def embedding_loss(self, *embeddings: Tensor) -> Tensor:
        """Return the W-MSE loss."""
        return w_mse(*embeddings, whitening_size=self.config.model.whitening_size)
