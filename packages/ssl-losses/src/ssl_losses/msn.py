"""MSN and PMSN: masked siamese networks, with a uniform or a power-law prior of the prototypes."""

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_losses.checks import check_counts, check_embeddings, check_temperature, check_weights
from ssl_losses.components.loss import Loss
from ssl_losses.components.prototypes import problem_with_prototypes, random_prototypes
from ssl_losses.distributed import gather_with_gradient, mean_over_ranks, world_size
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.ops.sinkhorn import sinkhorn
from ssl_losses.precision import widened, without_autocast


@without_autocast
def msn(
    anchors: Sequence[Tensor],
    target: Tensor,
    prototypes: Tensor,
    temperature: float = 0.1,
    target_sharpening: float = 0.25,
    sinkhorn_iterations: int = 3,
    mean_entropy: float = 1.0,
) -> Tensor:
    r"""Return the MSN loss (Assran et al. 2022, https://arxiv.org/abs/2204.07141).

    .. math::
        \frac{1}{A G} \sum_{a, i} H(p^+_i, p_{a,i}) + \lambda \left(\log K - H(\bar p)\right), \qquad
        p = \mathrm{softmax} \frac{z \cdot c}{\tau}, \quad \bar p = \frac{1}{A G} \sum_{a,i} p_{a,i}

    with embeddings and prototypes normalised, and the target's assignment p⁺ sharpened, p^(1/T) / Σ p^(1/T), and then
    balanced by Sinkhorn-Knopp over the global batch. The entropy of the mean assignment p̄, over the global batch as well,
    keeps all prototypes in use. The term is written with log K, as in the authors' code, so that it is never negative.

    Parameters
    ----------
    anchors : sequence of Tensor
        A >= 1 tensors ``(N, D)`` float, the masked views through the student.
    target : Tensor
        ``(N, D)`` float, the view without a mask through the teacher; no gradient flows into it.
    prototypes : Tensor
        ``(K, D)`` float, the same on all ranks; any scale. They learn from this loss, through the anchors alone.
    temperature : float
        τ, at least 1e-6; 0.1 in the authors' code.
    target_sharpening : float
        T, above 0 and at most 1; 0.25 in the authors' code.
    sinkhorn_iterations : int
        3 in the authors' code; 0 leaves the balance to the entropy alone.
    mean_entropy : float
        λ, 1 in the authors' code.

    Returns
    -------
    Tensor
        Scalar, float32 or float64, not negative.

    Examples
    --------
    >>> z = torch.eye(2)  # two samples, each on its own prototype: the target is sharp, the mean assignment uniform
    >>> round(msn([z], z, prototypes=torch.eye(2), temperature=1.0, target_sharpening=0.01).item(), 4)  # log(1 + 1 / e)
    0.3133
    """
    check_weights(mean_entropy=mean_entropy)
    entropy, log_mean = _matched(anchors, target, prototypes, temperature, target_sharpening, sinkhorn_iterations)
    return entropy + mean_entropy * _divergence(log_mean, exponent=0.0)


@without_autocast
def pmsn(
    anchors: Sequence[Tensor],
    target: Tensor,
    prototypes: Tensor,
    temperature: float = 0.1,
    target_sharpening: float = 0.25,
    sinkhorn_iterations: int = 0,
    prior: float = 1.0,
    exponent: float = 0.25,
) -> Tensor:
    r"""Return the PMSN loss (Assran et al. 2023, "The Hidden Uniform Cluster Prior", https://arxiv.org/abs/2210.07277).

    .. math::
        \frac{1}{A G} \sum_{a, i} H(p^+_i, p_{a,i}) + \lambda \, \mathrm{KL}(\bar p \,\|\, \pi), \qquad
        \pi_k \propto k^{-\alpha}

    :func:`msn` with a power law in place of the uniform prior, for data whose classes are of unequal size. With an exponent
    of 0 the two are the same, which needs this direction of the divergence: KL(p̄ ‖ uniform) = log K − H(p̄). (lightly 1.6
    takes KL(π ‖ p̄), and balances the targets by default.)

    Parameters
    ----------
    anchors, target, prototypes, temperature, target_sharpening
        As in :func:`msn`.
    sinkhorn_iterations : int
        0: balanced targets would restore the uniform prior that the power law replaces. The default is ours: the authors
        published no code of PMSN.
    prior : float
        λ.
    exponent : float
        α, at least 0; the paper's 0.25.

    Returns
    -------
    Tensor
        Scalar, float32 or float64, not negative.

    Examples
    --------
    >>> z = torch.eye(2)  # the mean assignment is uniform, the prior 2/3 and 1/3: KL = log(9/8) / 2
    >>> sharp = {"temperature": 0.01, "target_sharpening": 0.25}
    >>> round(pmsn([z], z, prototypes=torch.eye(2), exponent=1.0, **sharp).item(), 4)
    0.0589
    """
    check_weights(prior=prior, exponent=exponent)
    entropy, log_mean = _matched(anchors, target, prototypes, temperature, target_sharpening, sinkhorn_iterations)
    return entropy + prior * _divergence(log_mean, exponent)


def _matched(
    anchors: Sequence[Tensor],
    target: Tensor,
    prototypes: Tensor,
    temperature: float,
    target_sharpening: float,
    sinkhorn_iterations: int,
) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of the anchors' assignments with the target's, and the log of their mean ``(K,)``."""
    _check_options(temperature, target_sharpening, sinkhorn_iterations)
    check_embeddings(target, *anchors, problem=problem_with_prototypes(prototypes, [target]))
    *rows, of_target, c = (unit_rows(z) for z in widened([*anchors, target.detach(), prototypes]))
    logits = torch.cat(rows) @ c.T / temperature
    with torch.no_grad():
        sharpened = (of_target @ c.T / (temperature * target_sharpening)).log_softmax(1)
        targets = sinkhorn(sharpened, temperature=1.0, iterations=sinkhorn_iterations).repeat(len(anchors), 1)
    entropy = mean_over_ranks(F.cross_entropy(logits, targets))
    # the mean of probabilities as a log-sum-exp of their logarithms: an unused prototype underflows otherwise, and
    # its logarithm is minus infinity
    log_total = gather_with_gradient(logits.log_softmax(1).logsumexp(0, keepdim=True)).logsumexp(0)
    return entropy, log_total - math.log(len(logits) * world_size())


def _divergence(log_mean: Tensor, exponent: float) -> Tensor:
    """Return KL(p̄ ‖ π) of the mean assignment, given as logarithms ``(K,)``, and the power law of this exponent."""
    numbers = torch.arange(1, len(log_mean) + 1, dtype=log_mean.dtype, device=log_mean.device)
    return (log_mean.exp() * (log_mean - (-exponent * numbers.log()).log_softmax(0))).sum()


def _check_options(temperature: float, target_sharpening: float, sinkhorn_iterations: int) -> None:
    check_temperature(temperature)
    if not 0 < target_sharpening <= 1:
        raise ValueError(
            f"target_sharpening must be above 0 and at most 1, got {target_sharpening}; 1 leaves the target"
        )
    check_counts(0, sinkhorn_iterations=sinkhorn_iterations)


class MSNLoss(Loss):
    """:func:`msn` as a module that keeps the prototypes.

    Parameters
    ----------
    num_prototypes, dimensions : int
        K and D; 1024 and 256 in the authors' code.
    temperature, target_sharpening, sinkhorn_iterations, mean_entropy
        As in :func:`msn`.

    Attributes
    ----------
    prototypes : Parameter
        ``(K, D)``, random directions at first: seed all ranks alike, or let ``DistributedDataParallel`` broadcast them.
    """

    function: ClassVar[Callable[..., Tensor]] = staticmethod(msn)
    mean_entropy: float

    def __init__(
        self,
        num_prototypes: int = 1024,
        dimensions: int = 256,
        temperature: float = 0.1,
        target_sharpening: float = 0.25,
        sinkhorn_iterations: int = 3,
        mean_entropy: float = 1.0,
    ) -> None:
        _check_options(temperature, target_sharpening, sinkhorn_iterations)
        check_weights(mean_entropy=mean_entropy)
        check_counts(num_prototypes=num_prototypes, dimensions=dimensions)
        assignment = {"temperature": temperature, "target_sharpening": target_sharpening}
        super().__init__(**assignment, sinkhorn_iterations=sinkhorn_iterations, mean_entropy=mean_entropy)
        self.prototypes = nn.Parameter(random_prototypes(num_prototypes, dimensions))

    def forward(self, anchors: Sequence[Tensor], target: Tensor, target_sharpening: float | None = None) -> Tensor:
        """Return the loss of the anchors and their target, ``(N, D)`` each; ``target_sharpening`` is for a schedule."""
        options = self.options_with(target_sharpening=target_sharpening)
        return self.function(anchors, target, self.prototypes, **options)


class PMSNLoss(MSNLoss):
    """:func:`pmsn` as a module that keeps the prototypes: :class:`MSNLoss` with a power-law prior.

    Parameters
    ----------
    num_prototypes, dimensions : int
        K and D; 1024 and 256 in the authors' code of MSN.
    temperature, target_sharpening, sinkhorn_iterations, prior, exponent
        As in :func:`pmsn`.
    """

    function = staticmethod(pmsn)

    def __init__(
        self,
        num_prototypes: int = 1024,
        dimensions: int = 256,
        temperature: float = 0.1,
        target_sharpening: float = 0.25,
        sinkhorn_iterations: int = 0,
        prior: float = 1.0,
        exponent: float = 0.25,
    ) -> None:
        check_weights(prior=prior, exponent=exponent)
        super().__init__(num_prototypes, dimensions, temperature, target_sharpening, sinkhorn_iterations)
        options = self.options
        del options["mean_entropy"], self.mean_entropy  # prior and exponent take its place
        self.store(**options, prior=prior, exponent=exponent)
