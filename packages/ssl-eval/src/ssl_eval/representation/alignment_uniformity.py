"""Alignment and uniformity of embeddings on the sphere (Wang & Isola, ICML 2020, https://arxiv.org/abs/2005.10242)."""

import torch
from torch import Tensor

from ssl_eval.probes.vectors import unit_rows
from ssl_eval.validation import check_features, computed_in

CHUNK_ROWS = 1024  # compared with all others at a time


@torch.no_grad()
def alignment(first: Tensor, second: Tensor, alpha: float = 2.0) -> float:
    r"""Return the alignment of two views' normalised embeddings, the mean distance of positive pairs; lower is closer.

    .. math:: \frac1N \sum_i \lVert x_i - y_i \rVert_2^\alpha

    Parameters
    ----------
    first, second : Tensor
        ``(N, D)``: row i of both is the same image. Normalised to unit length here.
    alpha : float
        Above 0; 2 in the paper.

    Returns
    -------
    float
        In ``0..2 ** alpha``.

    Raises
    ------
    ValueError
        If embeddings hold NaN, shapes differ, or alpha is not above 0.

    Examples
    --------
    >>> round(alignment(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 0.0], [1.0, 0.0]])), 3)
    1.0
    """
    check_features("first", first)
    check_features("second", second)
    if first.shape != second.shape:
        raise ValueError(
            f"first and second are two views of the same images: expected equal shapes, got {tuple(first.shape)} and "
            f"{tuple(second.shape)}"
        )
    if not alpha > 0:
        raise ValueError(f"alpha={alpha}: expected above 0")
    distance = (_on_sphere(first) - _on_sphere(second)).norm(dim=1)
    return float(distance.pow(alpha).double().mean())


@torch.no_grad()
def uniformity(features: Tensor, t: float = 2.0) -> float:
    r"""Return the uniformity of normalised features on the sphere; lower is more uniform.

    .. math:: \log \frac{1}{N (N - 1)} \sum_{i \ne j} \exp(-t \lVert x_i - x_j \rVert_2^2)

    Parameters
    ----------
    features : Tensor
        ``(N, D)``, N at least 2. Normalised to unit length here. All pairs are compared, by chunks: memory is a normalised copy
        and 1,024 * N numbers, time N² * D.
    t : float
        Above 0; 2 in the paper.

    Returns
    -------
    float
        From ``-4 * t`` to 0: 0 for a collapsed representation, about ``-2 * t`` for a uniform one in many dimensions.

    Raises
    ------
    ValueError
        If features hold NaN, there is one row only, or t is not above 0.

    Examples
    --------
    >>> round(uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])), 3)
    -8.0
    """
    check_features("features", features)
    if len(features) < 2:
        raise ValueError("uniformity compares pairs: expected two features or more, got one")
    if not t > 0:
        raise ValueError(f"t={t}: expected above 0")
    points = _on_sphere(features)
    parts = []
    for start in range(0, len(points), CHUNK_ROWS):
        squared = (2 - 2 * points[start : start + CHUNK_ROWS] @ points.T).clamp_(min=0)
        rows = torch.arange(len(squared), device=points.device)
        squared[rows, rows + start] = torch.inf  # a point and itself are not a pair
        parts.append(torch.logsumexp((-t * squared).double(), (0, 1)))
    pairs = len(points) * (len(points) - 1)
    return float(torch.logsumexp(torch.stack(parts), 0) - torch.tensor(float(pairs), dtype=torch.float64).log())


def _on_sphere(features: Tensor) -> Tensor:
    return unit_rows(features, computed_in(features))
