"""DCL and DCLW: contrastive learning with the positive taken out of the denominator."""

from torch import Tensor

from ssl_losses.checks import check_embeddings, check_temperature
from ssl_losses.components.loss import Loss
from ssl_losses.distributed import gather_with_gradient, mean_over_ranks, rank
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.precision import widened, without_autocast
from ssl_losses.similarity.negatives import negatives


@without_autocast
def dcl(z1: Tensor, z2: Tensor, temperature: float = 0.1) -> Tensor:
    r"""Return the decoupled contrastive loss (Yeh, Hong, Hsu, Liu, Chen & LeCun 2022, https://arxiv.org/abs/2110.06848).

    .. math::
        \ell_i = -\frac{s_{i,p(i)}}{\tau} + \log \sum_{k \notin \{i, p(i)\}} \exp(s_{ik} / \tau),
        \qquad s_{ik} = \frac{z_i \cdot z_k}{‖z_i‖ ‖z_k‖}

    averaged over all 2G embeddings of the global batch; p(i) is the other view of the same sample. It is NT-Xent without
    the positive in the denominator, so that an easy positive no longer weakens the negatives: small batches learn too. The
    similarities are computed in tiles and recomputed in the backward pass: memory grows with N·D, not with N².

    Parameters
    ----------
    z1, z2 : Tensor
        ``(N, D)`` float, the two views of this rank's samples; any scale, rows are normalised here. At least 2
        samples in the global batch, else there is no negative.
    temperature : float
        τ, at least 1e-6. The paper: 0.1 on ImageNet with batches of 256.

    Returns
    -------
    Tensor
        Scalar, float32 or float64: the mean over the global batch. It may be negative. A zero row has similarity 0 to all.

    Examples
    --------
    >>> import torch
    >>> z = torch.eye(4)
    >>> round(dcl(z, z, temperature=1.0).item(), 4)  # log(6) - 1
    0.7918
    """
    a, b = _checked(z1, z2, temperature)
    return _decoupled(a, b, (a * b).sum(1), temperature)


@without_autocast
def dclw(z1: Tensor, z2: Tensor, temperature: float = 0.1, sigma: float = 0.5) -> Tensor:
    r"""Return the weighted decoupled contrastive loss (Yeh et al. 2022, https://arxiv.org/abs/2110.06848).

    .. math::
        \ell_i = -w_i \frac{s_{i,p(i)}}{\tau} + \log \sum_{k \notin \{i, p(i)\}} \exp(s_{ik} / \tau), \qquad
        w_i = 2 - \frac{\exp(s_{i,p(i)} / \sigma)}{\frac1G \sum_j \exp(s_{j,p(j)} / \sigma)}

    averaged as in :func:`dcl`. Positives that are far apart weigh more; the mean in the weight is that of the global batch.
    The weight counts as a constant; the authors' code lets a gradient through it, by which a pair may also lower the loss by
    moving apart.

    Parameters
    ----------
    z1, z2 : Tensor
        ``(N, D)`` float, the two views of this rank's samples; any scale, rows are normalised here. At least 2
        samples in the global batch, else there is no negative.
    temperature : float
        τ, at least 1e-6; the paper's 0.1.
    sigma : float
        σ, the temperature of the weights, at least 1e-6; the paper's 0.5.

    Returns
    -------
    Tensor
        Scalar, float32 or float64: the mean over the global batch. It may be negative.

    Examples
    --------
    >>> import torch
    >>> z = torch.eye(4)
    >>> round(dclw(z, z, temperature=1.0).item(), 4)  # all positives are alike: every weight is 1
    0.7918
    """
    check_temperature(sigma, "sigma")
    a, b = _checked(z1, z2, temperature)
    similarities = (a * b).sum(1)
    everybody = gather_with_gradient(similarities.detach())
    shares = (everybody / sigma).softmax(0)[rank() * len(a) :][: len(a)]
    weights = 2 - len(everybody) * shares
    return _decoupled(a, b, weights * similarities, temperature)


def _decoupled(a: Tensor, b: Tensor, positives: Tensor, temperature: float) -> Tensor:
    """Return the mean over the ranks of the log-sum-exp of the negatives less the positives' similarities ``(N,)``."""
    # row by row: the difference of two means of 1 / temperature would lose digits that the rows' differences keep
    return mean_over_ranks((negatives(a, b, 1 / temperature) - (positives / temperature).repeat(2)).mean())


def _checked(z1: Tensor, z2: Tensor, temperature: float) -> list[Tensor]:
    """Return the two views with rows of length 1, or raise ``ValueError``."""
    check_temperature(temperature)
    check_embeddings(z1, z2, samples=2)
    return [unit_rows(z) for z in widened((z1, z2))]


class DCLLoss(Loss):
    """:func:`dcl` as a ``torch.nn.Module`` with the same options."""

    def __init__(self, temperature: float = 0.1) -> None:
        check_temperature(temperature)
        super().__init__(temperature=temperature)

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the loss of two views ``(N, D)``."""
        return dcl(z1, z2, **self.options)


class DCLWLoss(Loss):
    """:func:`dclw` as a ``torch.nn.Module`` with the same options."""

    def __init__(self, temperature: float = 0.1, sigma: float = 0.5) -> None:
        check_temperature(temperature)
        check_temperature(sigma, "sigma")
        super().__init__(temperature=temperature, sigma=sigma)

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the loss of two views ``(N, D)``."""
        return dclw(z1, z2, **self.options)
