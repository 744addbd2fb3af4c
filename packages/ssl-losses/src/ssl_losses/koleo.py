"""KoLeo: the distance to the nearest neighbour in the batch, kept large."""

from torch import Tensor, nn

from ssl_losses.checks import check_embeddings
from ssl_losses.distributed import gather_with_gradient, mean_over_ranks, sample_numbers
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.precision import widened, without_autocast
from ssl_losses.similarity.nearest import nearest

SHORTEST = 1e-8  # distances level off here, as in the authors' code


@without_autocast
def koleo(*views: Tensor) -> Tensor:
    r"""Return the KoLeo loss (Sablayrolles, Douze, Schmid & Jégou 2019, https://arxiv.org/abs/1806.03198; as the regulariser
    of DINOv2, Oquab et al. 2024, https://arxiv.org/abs/2304.07193).

    .. math::
        -\frac1V \sum_v \frac1G \sum_i \log \sqrt{\rho_{v,i}^2 + \epsilon^2}, \qquad
        \rho_{v,i} = \min_{k \ne i} ‖\hat z_{v,i} - \hat z_{v,k}‖

    over the global batch, with rows normalised and ε = 1e-8: the Kozachenko-Leonenko estimate of the entropy. Both the row
    and its neighbour get a gradient. Neighbours are found in tiles: memory grows with N·D, not with N².

    Parameters
    ----------
    *views : Tensor
        V >= 1 tensors ``(N, D)`` float; neighbours are of the same view, as in DINOv2, which sums over its two global crops.
        At least 2 samples in the global batch, else there is no neighbour.

    Returns
    -------
    Tensor
        Scalar, float32 or float64, between -log 2 and 18.4: the mean over the global batch. Where two rows coincide the term
        is the largest, ``-log ε``, and its gradient 0: no direction is better than another. (The authors' code adds ε to the
        distance and to each coordinate, and pushes such rows along the diagonal with a force of 1e8.)

    Examples
    --------
    >>> import torch
    >>> z = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    >>> round(koleo(z).item(), 4)  # -log 2, as far apart as a sphere allows
    -0.6931
    """
    check_embeddings(*views, views=1, samples=2)
    logs = [_log_square_distance(unit_rows(z)).mean() for z in widened(views)]
    return mean_over_ranks(sum(logs[1:], logs[0]) * (-0.5 / len(logs)))


def _log_square_distance(z: Tensor) -> Tensor:
    """Return the logarithm of each row's squared distance to its nearest neighbour in the global batch."""
    everybody = gather_with_gradient(z)
    neighbours = nearest(z, everybody, excluded=sample_numbers(z).unsqueeze(1))
    difference = z - everybody[neighbours]
    return (difference.square().sum(1) + SHORTEST**2).log()


class KoLeoLoss(nn.Module):
    """:func:`koleo` as a ``torch.nn.Module``."""

    def forward(self, *views: Tensor) -> Tensor:
        """Return the loss of V views ``(N, D)``."""
        return koleo(*views)
