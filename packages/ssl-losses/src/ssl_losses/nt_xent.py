"""NT-Xent: the normalised, temperature-scaled cross-entropy of SimCLR."""

from torch import Tensor

from ssl_losses.checks import check_embeddings, check_temperature
from ssl_losses.components.loss import Loss
from ssl_losses.distributed import mean_over_ranks
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.ops.softplus import softplus
from ssl_losses.precision import widened, without_autocast
from ssl_losses.similarity.negatives import negatives


@without_autocast
def nt_xent(z1: Tensor, z2: Tensor, temperature: float = 0.1) -> Tensor:
    r"""Return the NT-Xent loss (Chen, Kornblith, Norouzi & Hinton 2020, https://arxiv.org/abs/2002.05709).

    .. math::
        \ell_i = -\log \frac{\exp(s_{i,p(i)} / \tau)}{\sum_{k \ne i} \exp(s_{ik} / \tau)},
        \qquad s_{ik} = \frac{z_i \cdot z_k}{‖z_i‖ ‖z_k‖}

    averaged over all 2G embeddings of the global batch; p(i) is the other view of the same sample. The similarities are
    computed in tiles and recomputed in the backward pass: memory grows with N·D, not with N². The last
    example is the dense equivalent on one rank.

    Parameters
    ----------
    z1, z2 : Tensor
        ``(N, D)`` float, the two views of this rank's samples; any scale, rows are normalised here. At least 2
        samples in the global batch, else there is no negative.
    temperature : float
        τ, at least 1e-6. The paper: 0.5 on CIFAR-10, 0.1 on ImageNet.

    Returns
    -------
    Tensor
        Scalar, float32 or float64, not negative: the mean over the global batch. A zero row has similarity 0 to all.

    Examples
    --------
    >>> import torch
    >>> z = torch.eye(4)
    >>> round(nt_xent(z, z, temperature=1.0).item(), 4)  # log(1 + 6 / e)
    1.1654

    >>> z1, z2 = torch.randn(2, 32, 8)
    >>> z = torch.nn.functional.normalize(torch.cat([z1, z2]))
    >>> similarities = (z @ z.T / 0.1).fill_diagonal_(-torch.inf)  # (2N, 2N)
    >>> other_view = torch.arange(64).roll(32)
    >>> dense = torch.nn.functional.cross_entropy(similarities, other_view)
    >>> torch.allclose(nt_xent(z1, z2, temperature=0.1), dense)
    True
    """
    check_temperature(temperature)
    check_embeddings(z1, z2, samples=2)
    scale = 1 / temperature
    a, b = (unit_rows(z) for z in widened((z1, z2)))
    positives = (a * b).sum(1).repeat(2) * scale
    return mean_over_ranks(softplus(negatives(a, b, scale) - positives).mean())


class NTXentLoss(Loss):
    """:func:`nt_xent` as a ``torch.nn.Module`` with the same options."""

    def __init__(self, temperature: float = 0.1) -> None:
        check_temperature(temperature)
        super().__init__(temperature=temperature)

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the loss of two views ``(N, D)``."""
        return nt_xent(z1, z2, **self.options)
