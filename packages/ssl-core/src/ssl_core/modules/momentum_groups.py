"""Groups of SMoG: directions that move with the embeddings of every batch, through which gradients flow."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_losses.checks import check_counts, check_shares, check_temperature
from ssl_losses.components.accumulation import AccumulatedState
from ssl_losses.distributed import all_reduce_with_gradient, mean_over_ranks
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.precision import widened, without_autocast


class MomentumGroups(AccumulatedState):
    """Momentum grouping (Pang, Zhang, Li, Cai & Lu 2022, https://arxiv.org/abs/2207.06167).

    Parameters
    ----------
    num_groups, dimensions : int
        K and D.
    beta : float
        A group with embeddings in the batch becomes ``beta · group + (1 - beta) · their mean``.
    temperature : float
        tau, at least 1e-6.

    Attributes
    ----------
    groups : Tensor
        Buffer ``(K, D)``, the same on all ranks; of any length. Set it before training, e.g. to the centroids of k-means.
    """

    groups: Tensor

    def __init__(self, num_groups: int, dimensions: int, beta: float = 0.99, temperature: float = 0.1) -> None:
        super().__init__()
        check_counts(num_groups=num_groups, dimensions=dimensions)
        check_shares(beta=beta)
        check_temperature(temperature)
        self.beta, self.temperature = beta, temperature
        self.register_buffer("groups", torch.zeros(num_groups, dimensions))

    @without_autocast
    def forward(self, predictions: Tensor, embeddings: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of predictions with the groups of their targets; move the groups in training.

        The loss is computed with the groups as this batch moves them, with a gradient to the embeddings.

        Parameters
        ----------
        predictions, embeddings : Tensor
            ``(N, D)``, the student's prediction and embedding of one view.
        targets : Tensor
            ``(N, D)``, the teacher's embeddings of the other view, which choose the groups.

        Returns
        -------
        Tensor
            Scalar: the mean over all ranks.
        """
        p, z, t = (unit_rows(x) for x in widened((predictions, embeddings, targets.detach())))
        groups = unit_rows(self.groups.to(z.dtype))
        labels = (t @ groups.T).argmax(1)
        own = (z.detach() @ groups.T).argmax(1)
        sums = all_reduce_with_gradient(torch.zeros_like(groups).index_add(0, own, z))
        counts = all_reduce_with_gradient(torch.zeros_like(groups[:, :1]).index_add(0, own, torch.ones_like(z[:, :1])))
        logits = p @ unit_rows(self._moved(sums, counts)).T / self.temperature
        if self.training:
            self.change_state(sums.detach(), counts)
        return mean_over_ranks(F.cross_entropy(logits, labels))

    def _moved(self, sums: Tensor, counts: Tensor) -> Tensor:
        moved = self.beta * self.groups + (1 - self.beta) * sums / counts.clamp(min=1)
        return torch.where(counts > 0, moved, self.groups)

    @torch.no_grad()
    def apply_change(self, sums: Tensor, counts: Tensor) -> None:  # type: ignore[override]
        """Move the groups by the sums ``(K, D)`` and numbers ``(K, 1)`` of their embeddings."""
        self.groups = self._moved(sums, counts).to(self.groups.dtype)

    def extra_repr(self) -> str:
        """Return the options."""
        groups, dimensions = self.groups.shape
        return f"num_groups={groups}, dimensions={dimensions}, beta={self.beta}, temperature={self.temperature}"
