"""Base class of methods that compare the embeddings of views: backbone, projector, and a linear probe as prediction."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ssl_core.batch import Batch, concatenate
from ssl_core.config import ModelConfig, OptimConfig, option
from ssl_core.errors import ConfigError
from ssl_core.methods.backbone_method import BackboneMethod
from ssl_core.methods.requirements import check_layers
from ssl_core.modules.heads import mlp
from ssl_core.modules.multi_crop import embed_by_size
from ssl_core.training.checks.method import loss_terms
from ssl_core.training.loss_module import total_loss
from ssl_losses import grad_cache


@dataclass
class ComparingConfig(ModelConfig):
    """Keys of every method whose loss compares samples."""

    def check_batch(self, optim: OptimConfig) -> None:
        """Raise a ConfigError for a batch of one sample."""
        if optim.epochs and optim.batch_size < 2:
            raise ConfigError(
                f"model.name={self.name!r} compares the samples of a batch",
                key="optim.batch_size",
                value=optim.batch_size,
                expected="at least 2",
            )


@dataclass
class JointEmbeddingConfig(ComparingConfig):
    """Keys of every method with a projector."""

    projector: list[int] = option([2048, 128], low=1)  # widths of the projector's layers, the last is the embedding's D

    def check(self) -> None:
        """Raise a ConfigError for a projector without layers."""
        super().check()
        check_layers("model.projector", self.projector, [2048, 128])


class JointEmbedding(BackboneMethod):
    """A method whose loss is a function of the embeddings ``(N, D)`` of the views. Subclasses define ``embedding_loss``."""

    config_class: type[ComparingConfig] = JointEmbeddingConfig
    min_views = 2
    projector: Any
    projector_options: ClassVar[dict[str, Any]] = {}  # of ssl_core.modules.heads.mlp
    joins_views: ClassVar[bool] = False  # one pass of the backbone for each size of views, one of the projector
    _waiting: tuple[Batch, ...] = ()  # batches of the next optimizer step, none where a checkpoint is written

    def initialize_modules(self) -> None:
        """Create the backbone and the projector."""
        super().initialize_modules()
        self.projector = mlp([self.backbone.num_features, *self.config.model.projector], **self.projector_options)

    def compute_loss(self) -> Tensor | dict[str, Tensor]:
        """Return the loss of the embeddings of all views of the batch."""
        return self.embedding_loss(*self.embed_views())

    def embed_views(self) -> list[Tensor]:
        """Return the embeddings ``(N, D)`` of all views of the batch.

        Batch normalisation sees one view at a time; with ``joins_views``, as in the code of methods for many views, the
        backbone sees all views of one size together, and the projector all views.
        """
        if self.joins_views:
            return embed_by_size(self.backbone, self.projector, self.views())
        return [self.embed(view) for view in self.views()]

    def embed(self, view: Tensor) -> Tensor:
        """Return the embeddings ``(N, D)`` of a view ``(N, C, H, W)``."""
        with self.run.precision.autocast():
            return self.projector(self.backbone(view))

    def compute_gradients(self, last: bool, divisor: int) -> dict[str, Tensor]:
        """Return the terms of the loss and accumulate its gradient over all samples of an optimizer step.

        With ``optim.accumulation_steps`` the batches are kept until the last one; then GradCache (Gao et al. 2021,
        https://arxiv.org/abs/2101.06983) gives the gradient of one large batch in the memory of a small one, at the price of a
        second forward pass. Batch normalisation still uses the statistics of one view of a small batch. A subclass that
        overrides ``compute_loss`` gets the mean of the batches' gradients.
        """
        if divisor == 1 or type(self).compute_loss is not JointEmbedding.compute_loss:
            return super().compute_gradients(last, divisor)
        self._waiting = (*self._waiting, self.data)
        if not last:
            return {}
        self.data, self._waiting = concatenate(self._waiting), ()
        views = self.views()
        terms: dict[str, Tensor] = {}

        def criterion(*embeddings: Tensor) -> Tensor:
            with self.run.precision.autocast():
                terms.update(loss_terms(self.embedding_loss(*embeddings), f"{type(self).__name__}.embedding_loss"))
            self.run.nan_guard.check_loss(terms, self.data[2])
            return total_loss(terms)

        grad_cache(self.run.loss, views, criterion, len(views[0]) // divisor, self.run.precision.scale)
        self.probes.join(divisor)
        return terms

    def embedding_loss(self, *embeddings: Tensor) -> Tensor | dict[str, Tensor]:
        """Return the loss of embeddings ``(N, D)``, one for each view."""
        raise NotImplementedError
