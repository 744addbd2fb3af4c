"""Barlow Twins: the cross-correlation of two views' embeddings, pulled towards the identity."""

from torch import Tensor, nn

from ssl_losses.checks import check_embeddings, check_not_negative, widened, without_autocast
from ssl_losses.distributed import gather

EPSILON = 1e-5  # added to the variances, as the batch normalisation of the authors' code does


@without_autocast
def barlow_twins(z1: Tensor, z2: Tensor, redundancy: float = 0.0051) -> Tensor:
    r"""Return the Barlow Twins loss (Zbontar, Jing, Misra, LeCun & Deny 2021, https://arxiv.org/abs/2103.03230).

    .. math::
        \sum_i (1 - C_{ii})^2 + \lambda \sum_i \sum_{j \ne i} C_{ij}^2, \qquad
        C = \frac1G \hat z_1^\top \hat z_2

    with embeddings standardised over the global batch (biased variance).

    Parameters
    ----------
    z1, z2 : Tensor
        ``(N, D)`` float.
    redundancy : float
        λ, the weight of the off-diagonal terms; the paper's 0.0051.

    Returns
    -------
    Tensor
        Scalar, float32 at least. It grows with D: the authors' code multiplies by 1/32 for D = 8192.

    Raises
    ------
    ValueError
        For shapes that differ, integers, fewer than 2 samples in the global batch, or a negative weight.
    """
    check_embeddings(z1, z2)
    check_not_negative(redundancy=redundancy)
    a, b = (gather(z) for z in widened((z1, z2)))
    check_embeddings(a, b, samples=2)
    a, b = ((z - z.mean(0)) / (z.var(0, correction=0) + EPSILON).sqrt() for z in (a, b))
    correlation = a.T @ b / len(a)
    diagonal = correlation.diagonal()
    off_diagonal = correlation.square().sum() - diagonal.square().sum()
    return (1 - diagonal).square().sum() + redundancy * off_diagonal


class BarlowTwinsLoss(nn.Module):
    """:func:`barlow_twins` as a module."""

    def __init__(self, redundancy: float = 0.0051) -> None:
        super().__init__()
        check_not_negative(redundancy=redundancy)
        self.redundancy = redundancy

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the loss of two views ``(N, D)``."""
        return barlow_twins(z1, z2, self.redundancy)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"redundancy={self.redundancy}"
