"""Common part of MSN and PMSN: anchors predict the prototypes of their target, and their mean follows a prior."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_losses.checks import check_counts, check_embeddings, check_temperature
from ssl_losses.components.prototypes import problem_with_prototypes, random_prototypes
from ssl_losses.distributed import gather_with_gradient, mean_over_ranks, world_size
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.ops.sinkhorn import sinkhorn
from ssl_losses.precision import widened


def prototype_matching(
    anchors: Sequence[Tensor],
    target: Tensor,
    prototypes: Tensor,
    temperature: float,
    target_sharpening: float,
    sinkhorn_iterations: int,
) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of the anchors' assignments with the target's, and the log of the anchors' mean assignment.

    Both are of the global batch. ``anchors`` are A tensors ``(N, D)``, ``target`` is ``(N, D)``, ``prototypes`` ``(K, D)``;
    the second result is ``(K,)``.
    """
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


def divergence(log_mean: Tensor, log_prior: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of the mean assignment from the prior, of their logarithms ``(K,)``."""
    return (log_mean.exp() * (log_mean - log_prior)).sum()


def _check_options(temperature: float, target_sharpening: float, sinkhorn_iterations: int) -> None:
    check_temperature(temperature)
    if not 0 < target_sharpening <= 1:
        raise ValueError(
            f"target_sharpening must be above 0 and at most 1, got {target_sharpening}; 1 leaves the target"
        )
    check_counts(0, sinkhorn_iterations=sinkhorn_iterations)


class PrototypeMatchingLoss(nn.Module):
    """The options that MSN and PMSN share, and the prototypes.

    Attributes
    ----------
    prototypes : Parameter
        ``(K, D)``, random directions at first: seed all ranks alike, or let ``DistributedDataParallel`` broadcast them.
    """

    def __init__(
        self,
        num_prototypes: int,
        dimensions: int,
        temperature: float,
        target_sharpening: float,
        sinkhorn_iterations: int,
    ) -> None:
        super().__init__()
        _check_options(temperature, target_sharpening, sinkhorn_iterations)
        check_counts(num_prototypes=num_prototypes, dimensions=dimensions)
        self.temperature, self.target_sharpening = temperature, target_sharpening
        self.sinkhorn_iterations = sinkhorn_iterations
        self.prototypes = nn.Parameter(random_prototypes(num_prototypes, dimensions))

    def extra_repr(self) -> str:
        """Return the options."""
        k, d = self.prototypes.shape
        return (
            f"num_prototypes={k}, dimensions={d}, temperature={self.temperature}, "
            f"target_sharpening={self.target_sharpening}, sinkhorn_iterations={self.sinkhorn_iterations}"
        )
