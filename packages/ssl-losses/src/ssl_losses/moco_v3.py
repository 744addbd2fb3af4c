"""MoCo v3: a contrastive loss of a predictor's queries and a teacher's keys, in the batch."""

from torch import Tensor

from ssl_losses.checks import check_embeddings, check_temperature
from ssl_losses.components.loss import Loss
from ssl_losses.distributed import mean_over_ranks
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.precision import widened, without_autocast
from ssl_losses.similarity.pair_cross_entropy import matching


@without_autocast
def moco_v3(q1: Tensor, q2: Tensor, k1: Tensor, k2: Tensor, temperature: float = 0.2) -> Tensor:
    r"""Return the MoCo v3 loss (Chen, Xie & He 2021, https://arxiv.org/abs/2104.02057).

    .. math::
        2 \tau \left( L(q_1, k_2) + L(q_2, k_1) \right), \qquad
        L(q, k) = -\frac1G \sum_i \log \frac{\exp(q_i \cdot k_i / \tau)}{\sum_j \exp(q_i \cdot k_j / \tau)}

    with all rows normalised; j runs over the global batch. The similarities are computed in tiles: memory grows with N·D.

    Parameters
    ----------
    q1, q2 : Tensor
        ``(N, D)`` float, the predictor's outputs of each view. At least 2 samples in the global batch.
    k1, k2 : Tensor
        ``(N, D)`` float, the teacher's embeddings of each view. They get no gradient.
    temperature : float
        τ, at least 1e-6; the authors' 0.2 for ViTs and 1.0 for ResNets.

    Returns
    -------
    Tensor
        Scalar, float32 or float64, not negative: the mean over the global batch. A zero row has similarity 0 to all.

    Examples
    --------
    >>> import torch
    >>> z = torch.eye(4)
    >>> round(moco_v3(z, z, z, z, temperature=1.0).item(), 4)  # 4 log(1 + 3 / e)
    2.9747
    """
    check_temperature(temperature)
    check_embeddings(q1, q2, k1, k2, views=4, samples=2)
    q1, q2, k1, k2 = (unit_rows(x) for x in widened((q1, q2, k1.detach(), k2.detach())))
    losses = matching(q1, k2, 1 / temperature) + matching(q2, k1, 1 / temperature)
    return mean_over_ranks(2 * temperature * losses.mean())


class MoCoV3Loss(Loss):
    """:func:`moco_v3` as a ``torch.nn.Module`` with the same options."""

    def __init__(self, temperature: float = 0.2) -> None:
        check_temperature(temperature)
        super().__init__(temperature=temperature)

    def forward(self, q1: Tensor, q2: Tensor, k1: Tensor, k2: Tensor) -> Tensor:
        """Return the loss of two views' queries and keys ``(N, D)``."""
        return moco_v3(q1, q2, k1, k2, **self.options)
