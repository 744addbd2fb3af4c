"""Cross-correlation of the dimensions of two networks, pulled towards the identity: the feature term of All4One."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_losses.ops.covariance import off_diagonal, sum_of_products
from ssl_losses.ops.normalize import unit_columns
from ssl_losses.precision import without_autocast


@without_autocast
def decorrelation(targets: Sequence[Tensor], embeddings: Sequence[Tensor]) -> Tensor:
    r"""Return the feature term of All4One (Estepa, Sarasua, Nagarajan & Radeva 2023, https://arxiv.org/abs/2303.09417).

    .. math::
        \frac12 \sqrt{\mathrm{mean}_i (1 - C_{ii})^2} + \frac12 \sqrt{\mathrm{mean}_{i \ne j} C_{ij}^2}

    with the means also over the correlations of target 1 with embedding 2, and of target 2 with embedding 1. Columns have
    length 1 over the global batch; they are not centred.

    Parameters
    ----------
    targets, embeddings : sequence of Tensor
        Two views ``(N, D)`` each, of one type, float32 or float64; D at least 2.

    Returns
    -------
    Tensor
        Scalar, not negative: of the global batch.
    """
    (t1, t2), (z1, z2) = ([unit_columns(x) for x in views] for views in (targets, embeddings))
    correlations = torch.stack([sum_of_products(t1, z2), sum_of_products(t2, z1)])
    diagonal = (1 - correlations.diagonal(dim1=1, dim2=2)).square().mean().sqrt()
    return (diagonal + off_diagonal(correlations).square().mean().sqrt()) / 2
