"""EMP-SSL: the total coding rate of each view, and agreement with the mean view."""

import torch
from torch import Tensor

from ssl_losses.checks import check_embeddings, check_positive, check_weights
from ssl_losses.components.loss import Loss
from ssl_losses.distributed import mean_over_ranks
from ssl_losses.ops.covariance import total_rows
from ssl_losses.ops.gram import smaller_gram
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.precision import widened, without_autocast


@without_autocast
def emp_ssl(*views: Tensor, invariance: float = 200.0, distortion: float = 0.2) -> Tensor:
    r"""Return the EMP-SSL loss (Tong, Chen, Ma & LeCun 2023, https://arxiv.org/abs/2304.03977).

    .. math::
        -\frac1V \sum_v \left[ R(\hat Z_v)
        + \frac{\lambda}{G} \sum_i \frac{\hat z_{v,i} \cdot \bar z_i}{‖\hat z_{v,i}‖ ‖\bar z_i‖} \right], \qquad
        R(\hat Z) = \frac12 \log\det\left(I + \frac{D}{G \epsilon^2} \hat Z^\top \hat Z\right)

    over the global batch, with rows of length 1 and the mean view :math:`\bar z_i = \frac1V \sum_v \hat z_{v,i}`. R is the
    total coding rate: the number of nats that encode the rows up to a squared error of ε². It grows with the
    volume that they span. Made for many views (the paper's patches, 20 to 200) and few epochs.

    Parameters
    ----------
    *views : Tensor
        V >= 2 tensors ``(N, D)`` float; any scale, rows are normalised here, as the authors' network does.
    invariance : float
        λ, the weight of the agreement.
    distortion : float
        ε², above 0. The authors' code: 0.2.

    Returns
    -------
    Tensor
        Scalar, float32 or float64: at least −λ − R for the largest rate. A zero row has similarity 0 to all.

    Examples
    --------
    >>> z = torch.eye(4)  # I + 4 / (4 * 0.2) I = 6 I: a rate of 2 log 6
    >>> round(emp_ssl(z, z).item(), 4), round(emp_ssl(z, z, invariance=0.0).item(), 4)
    (-203.5835, -3.5835)
    """
    check_positive(distortion=distortion)
    check_weights(invariance=invariance)
    check_embeddings(*views)
    v, n, d = len(views), *views[0].shape
    z = unit_rows(torch.cat(widened(views))).view(v, n, d)
    agreement = mean_over_ranks((z * unit_rows(z.mean(0))).sum(2).mean())
    gram = smaller_gram(z)
    identity = torch.eye(gram.shape[-1], dtype=z.dtype, device=z.device)
    rate = torch.logdet(identity + d / (total_rows(z) * distortion) * gram).mean() / 2
    return -rate - invariance * agreement


class EMPSSLLoss(Loss):
    """:func:`emp_ssl` as a ``torch.nn.Module`` with the same options."""

    def __init__(self, invariance: float = 200.0, distortion: float = 0.2) -> None:
        check_weights(invariance=invariance)
        check_positive(distortion=distortion)
        super().__init__(invariance=invariance, distortion=distortion)

    def forward(self, *views: Tensor) -> Tensor:
        """Return the loss of V views ``(N, D)``."""
        return emp_ssl(*views, **self.options)
