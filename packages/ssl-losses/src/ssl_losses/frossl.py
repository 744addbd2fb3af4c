"""FroSSL: Frobenius norms of the views' covariances, and agreement with the mean view."""

import torch
from torch import Tensor

from ssl_losses.checks import check_embeddings, check_weights
from ssl_losses.components.loss import Loss
from ssl_losses.distributed import all_reduce_with_gradient
from ssl_losses.ops.covariance import total_rows
from ssl_losses.ops.gram import smaller_gram
from ssl_losses.ops.normalize import unit_columns
from ssl_losses.precision import widened, without_autocast


@without_autocast
def frossl(*views: Tensor, invariance: float = 1.0) -> Tensor:
    r"""Return the FroSSL loss (Skean, Dhakal, Jacobs & Sanchez Giraldo 2024, https://arxiv.org/abs/2310.02903).

    .. math::
        \sum_v \log \left‖ \frac{\hat Z_v^\top \hat Z_v}{\mathrm{tr}(\hat Z_v^\top \hat Z_v)} \right‖_F^2
        + \lambda \, \frac{V}{G} \sum_v ‖\hat Z_v - \bar Z‖_F^2

    where each dimension of Ẑ has length 1 over the global batch, and the mean view is :math:`\bar Z = \frac1V \sum_v \hat Z_v`.
    The first term is a view's negative entropy: it is smallest where the eigenvalues of its covariance are equal, and needs no
    eigendecomposition. Embeddings are not centred, as in the authors' code for V views; a projector that ends in a batch
    normalisation centres them.

    Parameters
    ----------
    *views : Tensor
        V >= 2 tensors ``(N, D)`` float; any scale.
    invariance : float
        λ, the weight of the agreement.

    Returns
    -------
    Tensor
        Scalar, float32 or float64. The first term is between −V log min(G, D) and 0; a view of zeros counts as collapsed
        and adds 0.

    Examples
    --------
    >>> z = torch.eye(4)[:, :2]  # equal eigenvalues: log(1/2) for each of the two views
    >>> round(frossl(z, z).item(), 4), round(frossl(torch.ones(4, 2), torch.ones(4, 2)).item(), 4)
    (-1.3863, 0.0)
    """
    check_weights(invariance=invariance)
    check_embeddings(*views)
    z = unit_columns(torch.stack(widened(views)))  # (V, N, D)
    gram = smaller_gram(z)
    trace = gram.diagonal(dim1=1, dim2=2).sum(1).clamp_min(1)  # the number of dimensions that are not zero: at least 1
    squared_norm = gram.square().sum((1, 2)) / trace.square()
    collapse = squared_norm.masked_fill(squared_norm == 0, 1).log().sum()
    disagreement = all_reduce_with_gradient((z - z.mean(0)).square().sum()) * (len(z) / total_rows(z))
    return collapse + invariance * disagreement


class FroSSLLoss(Loss):
    """:func:`frossl` as a ``torch.nn.Module`` with the same options."""

    def __init__(self, invariance: float = 1.0) -> None:
        check_weights(invariance=invariance)
        super().__init__(invariance=invariance)

    def forward(self, *views: Tensor) -> Tensor:
        """Return the loss of V views ``(N, D)``."""
        return frossl(*views, **self.options)
