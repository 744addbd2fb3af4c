"""DirectCLR: a contrastive loss on the first dimensions of the representation, without a projector."""

import torch
from torch import Tensor

from ssl_losses.checks import check_counts, check_embeddings, check_temperature
from ssl_losses.components.loss import Loss
from ssl_losses.distributed import mean_over_ranks
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.precision import widened, without_autocast
from ssl_losses.similarity.pair_cross_entropy import matching_both_ways


@without_autocast
def directclr(r1: Tensor, r2: Tensor, dim: int = 360, temperature: float = 0.1) -> Tensor:
    r"""Return the DirectCLR loss (Jing, Vincent, LeCun & Tian 2022, https://arxiv.org/abs/2110.09348).

    .. math::
        \frac12 \left( L(z_1, z_2) + L(z_2, z_1) \right), \qquad z_v = r_{v, 1 \dots d_0}, \qquad
        L(a, b) = -\frac1G \sum_i \log \frac{\exp(\hat a_i \cdot \hat b_i / \tau)}{\sum_k \exp(\hat a_i \cdot \hat b_k / \tau)}

    where k runs over the other view of the global batch, as in the paper and the authors' code: a view's own samples are no
    negatives. The similarities are computed in tiles: memory grows with N·D, not with N².

    Parameters
    ----------
    r1, r2 : Tensor
        ``(N, D)`` float, the two views' representations: the output of the backbone, without a projector. At least 2
        samples in the global batch, else there is no negative.
    dim : int
        d₀, the leading dimensions that the loss sees, from 1 to D; the paper's 360 (of a ResNet-50's 2048).
    temperature : float
        τ, at least 1e-6; the authors' 0.1.

    Returns
    -------
    Tensor
        Scalar, float32 or float64, not negative: the mean over the global batch. A zero row has similarity 0 to all.

    Examples
    --------
    >>> r = torch.eye(4)
    >>> round(directclr(r, r, dim=4, temperature=1.0).item(), 4)  # log(1 + 3 / e)
    0.7437
    """
    check_counts(dim=dim)
    check_temperature(temperature)
    check_embeddings(r1, r2, samples=2)
    if dim > r1.shape[1]:
        raise ValueError(f"dim={dim} is more than the D={r1.shape[1]} dimensions of the representations; lower dim")
    a, b = (unit_rows(r[:, :dim]) for r in widened((r1, r2)))
    return mean_over_ranks(torch.stack(matching_both_ways(a, b, 1 / temperature)).mean())


class DirectCLRLoss(Loss):
    """:func:`directclr` as a ``torch.nn.Module`` with the same options."""

    def __init__(self, dim: int = 360, temperature: float = 0.1) -> None:
        check_counts(dim=dim)
        check_temperature(temperature)
        super().__init__(dim=dim, temperature=temperature)

    def forward(self, r1: Tensor, r2: Tensor) -> Tensor:
        """Return the loss of two views' representations ``(N, D)``."""
        return directclr(r1, r2, **self.options)
