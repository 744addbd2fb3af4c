"""A method's loss as a module, so that DDP and ``torch.compile`` see the whole of it."""

from typing import Any

from torch import Tensor, nn

from ssl_core.training.method_checks import loss_terms
from ssl_losses.precision import widened


class LossModule(nn.Module):
    """``compute_loss`` as a forward pass; with a view, the embedding of it, for methods that compute their loss in two passes.

    Parameters
    ----------
    model : BaseModel
        Whose loss it is; a submodule here.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model
        self._name = f"{type(model).__name__}.compute_loss"

    @classmethod
    def of(cls, model: nn.Module, compiled: bool) -> nn.Module:
        """Return the loss of a model, compiled if ``compiled``."""
        if not compiled:
            return cls(model)
        from ssl_core.training.compilation import compile_loss  # loads the compiler

        return compile_loss(cls(model))

    def forward(self, view: Tensor | None = None) -> Any:
        """Return the terms of the loss by name, or the embedding ``(N, D)`` of a view ``(N, C, H, W)``."""
        return loss_terms(self.model.compute_loss(), self._name) if view is None else self.model.embed(view)


def total_loss(terms: dict[str, Tensor]) -> Tensor:
    """Return the loss: the sum of its terms that have a gradient, in float32 at least. The others are logged only."""
    trained = [term for term in terms.values() if term.requires_grad]
    first, *others = widened(trained or list(terms.values()))
    return sum(others, first)
