"""NT-Xent: the normalised, temperature-scaled cross-entropy of SimCLR."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_losses.checks import check_embeddings, check_positive, widened, without_autocast
from ssl_losses.distributed import gather, mean_over_ranks, rank


@without_autocast
def nt_xent(z1: Tensor, z2: Tensor, temperature: float = 0.1) -> Tensor:
    r"""Return the NT-Xent loss (Chen, Kornblith, Norouzi & Hinton 2020, https://arxiv.org/abs/2002.05709).

    .. math::
        \ell_i = -\log \frac{\exp(s_{i,p(i)} / \tau)}{\sum_{k \ne i} \exp(s_{ik} / \tau)},
        \qquad s_{ik} = \frac{z_i \cdot z_k}{‖z_i‖ ‖z_k‖}

    averaged over all 2G embeddings of the global batch; p(i) is the other view of the same sample.

    Parameters
    ----------
    z1, z2 : Tensor
        ``(N, D)`` float, the two views of this rank's samples; any scale, rows are normalised here.
    temperature : float
        τ > 0. The paper: 0.5 on CIFAR-10, 0.1 on ImageNet.

    Returns
    -------
    Tensor
        Scalar, float32 at least: the mean over the world.

    Raises
    ------
    ValueError
        For shapes that differ, integers, a temperature that is not above 0, or ranks with different batches.

    Examples
    --------
    >>> z = torch.eye(4)
    >>> round(nt_xent(z, z, temperature=0.1).item(), 4)  # log(1 + 6 exp(-10))
    0.0003
    """
    check_embeddings(z1, z2)
    check_positive(temperature=temperature)
    n = len(z1)
    a, b = (F.normalize(z, dim=1) for z in widened((z1, z2)))
    all_a, all_b = gather(a), gather(b)
    own = torch.arange(n, device=z1.device) + rank() * n
    # (2N, 2G): this rank's rows against everybody's
    logits = torch.cat([a, b]) @ torch.cat([all_a, all_b]).T / temperature
    total = len(all_a)
    rows = torch.arange(2 * n, device=z1.device)
    logits[rows, torch.cat([own, own + total])] = -torch.inf  # a sample is not its own negative
    return mean_over_ranks(F.cross_entropy(logits, torch.cat([own + total, own])))


class NTXentLoss(nn.Module):
    """:func:`nt_xent` as a module."""

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        check_positive(temperature=temperature)
        self.temperature = temperature

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the loss of two views ``(N, D)``."""
        return nt_xent(z1, z2, self.temperature)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"temperature={self.temperature}"
