"""What methods share that compare the embeddings of two views: a backbone, a projector, a linear probe as prediction."""

from torch import Tensor

from ssl_core.backbones import build_backbone
from ssl_core.base_model import BaseModel
from ssl_core.batch import Batch, concatenate
from ssl_core.errors import ConfigError
from ssl_core.methods.configs import JointEmbeddingConfig
from ssl_core.modules.heads import mlp
from ssl_core.training.loss_module import total_loss
from ssl_core.training.method_checks import loss_terms
from ssl_losses import grad_cache


class JointEmbedding(BaseModel):
    """A method whose loss is a function of the embeddings ``(N, D)`` of the views: subclasses write ``embedding_loss``."""

    config_class = JointEmbeddingConfig
    num_views: int | None = None  # that the loss compares; None: two or more
    _waiting: tuple[Batch, ...] = ()  # batches of the next optimizer step, none where a checkpoint is written

    def initialize_modules(self) -> None:
        """Make the backbone and the projector."""
        model = self.config.model
        self.backbone = build_backbone(model.backbone, self.image_shape, **model.backbone_options)
        self.projector = mlp([self.backbone.num_features, *model.projector])

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits ``(N, K)`` of the online probe on the backbone (its features where there are no labels)."""
        features = self.backbone(x)
        return self.probes.scores("backbone", features) if "backbone" in self.probes else features

    def compute_loss(self) -> Tensor | dict[str, Tensor]:
        """Return the loss of the embeddings of all views of the batch."""
        return self.embedding_loss(*map(self.embed, self._views()))

    def embed(self, view: Tensor) -> Tensor:
        """Return the embeddings ``(N, D)`` of a view ``(N, C, H, W)``."""
        with self.run.precision.autocast():
            return self.projector(self.backbone(view))

    def compute_gradients(self, last: bool, divisor: int) -> dict[str, Tensor]:
        """With ``optim.accumulation_steps``, the loss compares the samples of all batches of an optimizer step.

        They wait for the last of them; then GradCache (Gao et al. 2021, https://arxiv.org/abs/2101.06983) gives the gradient
        of one large batch in the memory of a small one, for a second forward pass. Batch normalisation still takes its
        statistics from a small one. A subclass with a ``compute_loss`` of its own gets the mean of the batches' gradients.
        """
        if divisor == 1 or type(self).compute_loss is not JointEmbedding.compute_loss:
            return super().compute_gradients(last, divisor)
        self._waiting = (*self._waiting, self.data)
        if not last:
            return {}
        self.data, self._waiting = concatenate(self._waiting), ()
        views = self._views()
        terms: dict[str, Tensor] = {}

        def criterion(*embeddings: Tensor) -> Tensor:
            with self.run.precision.autocast():
                terms.update(loss_terms(self.embedding_loss(*embeddings), f"{type(self).__name__}.embedding_loss"))
            self.run.nan_guard.check_loss(terms, self.data[2])
            return total_loss(terms)

        grad_cache(self.run.loss, views, criterion, len(views[0]) // divisor, self.run.precision.scale)
        self.probes.join(divisor)
        return terms

    def _views(self) -> list[Tensor]:
        """Return the views of the batch, as many as the loss compares."""
        views = self.data.views
        if len(views) < 2 or self.num_views not in (None, len(views)):
            raise ConfigError(
                f"data.views={getattr(self.config.data, 'views', '?')!r}: it gives {len(views)} of an image, and "
                f"{type(self).__name__} compares {self.num_views or 'two or more'}; data.views=simclr gives two"
            )
        return views

    def embedding_loss(self, *embeddings: Tensor) -> Tensor | dict[str, Tensor]:
        """Return the loss of embeddings ``(N, D)``, one for each view."""
        raise NotImplementedError
