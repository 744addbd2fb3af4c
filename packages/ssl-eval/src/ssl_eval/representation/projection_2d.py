"""Projection of features to two dimensions: principal components and t-SNE."""

import math

import torch
from torch import Tensor

from ssl_eval.validation import check_even, check_features

EARLY_ITERATIONS = 250  # with similarities exaggerated, so that clusters form before they settle
EXAGGERATION = 12.0


@torch.no_grad()
def principal_components(features: Tensor, num_components: int = 2) -> Tensor:
    """Return the features' coordinates along the directions of most variance, ``(N, num_components) float64``.

    Signs are fixed: the coordinate that is farthest from zero is positive, so that two runs of one encoder look alike.

    Parameters
    ----------
    features : Tensor
        ``(N, D)``.
    num_components : int
        At most D.

    Raises
    ------
    ValueError
        If features hold NaN, or there are fewer than ``num_components`` of them.

    References
    ----------
    Pearson: On lines and planes of closest fit, 1901.

    Examples
    --------
    >>> principal_components(torch.tensor([[5.0, 1.0], [-1.0, 1.0], [2.0, 2.0], [2.0, 0.0]])).round().abs()[:, 0]
    tensor([3., 3., 0., 0.], dtype=torch.float64)
    """
    check_features("features", features)
    if not 1 <= num_components <= features.shape[1]:
        raise ValueError(f"num_components={num_components}: expected 1 up to the width of the features")
    centered = features.double() - features.double().mean(0)
    _, vectors = torch.linalg.eigh(centered.T @ centered)
    scores = centered @ vectors.flip(1)[:, :num_components]
    farthest = scores.gather(0, scores.abs().argmax(0, keepdim=True))
    return scores * torch.where(farthest < 0, -1.0, 1.0)


@torch.no_grad()
def tsne(features: Tensor, perplexity: float = 30.0, iterations: int = 750, num_components: int = 2) -> Tensor:
    """Return the exact t-SNE projection of features, ``(N, num_components) float64``.

    From the principal components, without a random number: the same features give the same map. Distances between clusters
    and their sizes mean nothing.

    Parameters
    ----------
    features : Tensor
        ``(N, D)``. All pairs are compared: memory is about ``10 * N * N`` numbers, for 2,000 samples 320 MB.
    perplexity : float
        About how many neighbours each sample has; below N / 3.
    iterations : int
        Of gradient descent, the first 250 exaggerated.
    num_components : int
        At most D.

    Raises
    ------
    ValueError
        If features hold NaN, a row is a million times as large as the median row, or an option is out of range.

    References
    ----------
    van der Maaten & Hinton: Visualizing Data using t-SNE, JMLR 2008; the start is that of Kobak & Berens, 2019.
    """
    check_features("features", features)
    check_even("features", features)
    samples = len(features)
    if not 1 <= perplexity < max(2, samples / 3):
        raise ValueError(f"perplexity={perplexity}: expected 1 up to a third of the {samples} samples")
    if iterations < 1:
        raise ValueError(f"iterations={iterations}: expected 1 or more")
    similarity = joint_similarities(features, perplexity)
    start = principal_components(features, num_components)
    points = 1e-4 * start / start[:, 0].std().clamp(min=torch.finfo(start.dtype).tiny)
    velocity, gains = torch.zeros_like(points), torch.ones_like(points)
    rate = max(samples / EXAGGERATION / 4, 50.0)
    for iteration in range(iterations):
        early = iteration < min(EARLY_ITERATIONS, iterations // 2)
        kernel = 1 / (1 + torch.cdist(points, points).square())
        kernel.fill_diagonal_(0)
        pull = (similarity * (EXAGGERATION if early else 1.0) - kernel / kernel.sum()) * kernel
        gradient = 4 * (pull.sum(1, keepdim=True) * points - pull @ points)
        gains = torch.where(velocity * gradient < 0, gains + 0.2, gains * 0.8).clamp(min=0.01)
        velocity = (0.5 if early else 0.8) * velocity - rate * gains * gradient
        points = points + velocity
    return points - points.mean(0)


def joint_similarities(features: Tensor, perplexity: float) -> Tensor:
    """Return p ``(N, N) float64``, symmetric and summing to one: Gaussian, each row's width such that it has the perplexity."""
    squared = torch.cdist(features.double(), features.double()).square()
    others = ~torch.eye(len(squared), dtype=torch.bool, device=squared.device)
    nearest = squared.masked_fill(~others, math.inf).min(1, keepdim=True).values
    apart = (squared - nearest).masked_fill(~others, math.inf)  # the largest similarity of a row is exp(0)
    scale = float(apart.masked_fill(~others, 0).mean()) or 1.0  # of duplicates any width will do
    low, high = (torch.full_like(nearest, factor / scale) for factor in (1e-10, 1e10))
    for _ in range(60):  # bisection of log(1 / (2 σ²)), all rows at once
        beta = (low * high).sqrt()
        p = torch.exp(-beta * apart)
        p = p / p.sum(1, keepdim=True)
        entropy = -torch.special.xlogy(p, p).sum(1, keepdim=True)
        wide = entropy > math.log(perplexity)
        low, high = torch.where(wide, beta, low), torch.where(wide, high, beta)
    return (p + p.T) / (2 * len(p))
