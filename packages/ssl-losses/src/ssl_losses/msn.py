"""MSN: masked siamese networks."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_losses.checks import check_weights
from ssl_losses.ops.prototype_matching import PrototypeMatchingLoss, divergence, prototype_matching
from ssl_losses.precision import without_autocast


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
        A tensors ``(N, D)`` float, the masked views through the student.
    target : Tensor
        ``(N, D)`` float, the view without a mask through the teacher; no gradient flows into it.
    prototypes : Tensor
        ``(K, D)`` float, the same on all ranks; any scale. They learn from this loss, through the anchors alone.
    temperature, target_sharpening : float
        τ and T; 0.1 and 0.25 in the authors' code.
    sinkhorn_iterations : int
        3 in the authors' code; 0 leaves the balance to the entropy alone.
    mean_entropy : float
        λ, 1 in the authors' code.

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
    >>> z = torch.eye(2)  # two samples, each on its own prototype: the target is sharp, the mean assignment uniform
    >>> round(msn([z], z, prototypes=torch.eye(2), temperature=1.0, target_sharpening=0.01).item(), 4)  # log(1 + 1 / e)
    0.3133
    """
    check_weights(mean_entropy=mean_entropy)
    entropy, log_mean = prototype_matching(
        anchors, target, prototypes, temperature, target_sharpening, sinkhorn_iterations
    )
    uniform = torch.full_like(log_mean, -math.log(len(log_mean)))
    return entropy + mean_entropy * divergence(log_mean, uniform)


class MSNLoss(PrototypeMatchingLoss):
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

    def __init__(
        self,
        num_prototypes: int = 1024,
        dimensions: int = 256,
        temperature: float = 0.1,
        target_sharpening: float = 0.25,
        sinkhorn_iterations: int = 3,
        mean_entropy: float = 1.0,
    ) -> None:
        super().__init__(num_prototypes, dimensions, temperature, target_sharpening, sinkhorn_iterations)
        check_weights(mean_entropy=mean_entropy)
        self.mean_entropy = mean_entropy

    def forward(self, anchors: Sequence[Tensor], target: Tensor, target_sharpening: float | None = None) -> Tensor:
        """Return the loss of the anchors and their target, ``(N, D)`` each; a schedule of the sharpening is the caller's."""
        return msn(
            anchors,
            target,
            self.prototypes,
            self.temperature,
            self.target_sharpening if target_sharpening is None else target_sharpening,
            self.sinkhorn_iterations,
            self.mean_entropy,
        )

    def extra_repr(self) -> str:
        """Return the options."""
        return f"{super().extra_repr()}, mean_entropy={self.mean_entropy}"
