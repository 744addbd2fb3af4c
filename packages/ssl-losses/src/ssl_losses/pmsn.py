"""PMSN: prior matching for siamese networks."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_losses.checks import check_weights
from ssl_losses.ops.prototype_matching import PrototypeMatchingLoss, divergence, prototype_matching
from ssl_losses.precision import without_autocast


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

    :func:`~ssl_losses.msn.msn` with a power law in place of the uniform prior, for data whose classes are of unequal
    size. With an exponent of 0 the two are the same.

    Parameters
    ----------
    anchors, target, prototypes, temperature, target_sharpening
        As in :func:`~ssl_losses.msn.msn`.
    sinkhorn_iterations : int
        0: balancing the targets would bring back the uniform prior that the power law replaces.
    prior : float
        λ.
    exponent : float
        α, at least 0; the paper's 0.25.

    Returns
    -------
    Tensor
        Scalar, float32 at least, not negative: over the world.

    Raises
    ------
    ValueError
        For no anchor, shapes that differ, integers, options out of range, or ranks with different batches.

    Examples
    --------
    >>> z = torch.eye(2)  # the mean assignment is uniform, the prior 2/3 and 1/3: KL = log(9/8) / 2
    >>> sharp = {"temperature": 0.01, "target_sharpening": 0.25}
    >>> round(pmsn([z], z, prototypes=torch.eye(2), exponent=1.0, **sharp).item(), 4)
    0.0589
    """
    check_weights(prior=prior, exponent=exponent)
    entropy, log_mean = prototype_matching(
        anchors, target, prototypes, temperature, target_sharpening, sinkhorn_iterations
    )
    ranks = torch.arange(1, len(log_mean) + 1, dtype=log_mean.dtype, device=log_mean.device)
    return entropy + prior * divergence(log_mean, (-exponent * ranks.log()).log_softmax(0))


class PMSNLoss(PrototypeMatchingLoss):
    """:func:`pmsn` as a module that keeps the prototypes.

    Parameters
    ----------
    num_prototypes, dimensions : int
        K and D; 1024 and 256 in the authors' code of MSN.
    temperature, target_sharpening, sinkhorn_iterations, prior, exponent
        As in :func:`pmsn`.

    Attributes
    ----------
    prototypes : Parameter
        ``(K, D)``, random directions at first: seed all ranks alike, or let ``DistributedDataParallel`` broadcast them.
    """

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
        super().__init__(num_prototypes, dimensions, temperature, target_sharpening, sinkhorn_iterations)
        check_weights(prior=prior, exponent=exponent)
        self.prior, self.exponent = prior, exponent

    def forward(self, anchors: Sequence[Tensor], target: Tensor, target_sharpening: float | None = None) -> Tensor:
        """Return the loss of the anchors and their target, ``(N, D)`` each; a schedule of the sharpening is the caller's."""
        return pmsn(
            anchors,
            target,
            self.prototypes,
            self.temperature,
            self.target_sharpening if target_sharpening is None else target_sharpening,
            self.sinkhorn_iterations,
            self.prior,
            self.exponent,
        )

    def extra_repr(self) -> str:
        """Return the options."""
        return f"{super().extra_repr()}, prior={self.prior}, exponent={self.exponent}"
