"""k-means on features.

Hand-written, about 50 lines: it runs with torch only and on any device, and no cluster stays empty.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_eval.validation import check_features, computed_in, typical_row

CHUNK_ROWS = 16384  # rows whose distances to all centres are computed at a time


@dataclass
class Clusters:
    """Result of :func:`kmeans`.

    Attributes
    ----------
    assignments : Tensor
        ``(N,) int64`` in ``0..K-1``.
    centers : Tensor
        ``(K, D)``.
    inertia : float
        Sum of squared distances to the nearest centre.
    iterations : int
        Number of iterations of the best start.
    """

    assignments: Tensor
    centers: Tensor
    inertia: float
    iterations: int


@torch.no_grad()
def kmeans(
    features: Tensor,
    num_clusters: int,
    centers: Tensor | None = None,
    restarts: int = 10,
    max_iterations: int = 300,
    seed: int = 0,
) -> Clusters:
    """Cluster features by Lloyd's algorithm until no sample moves; the best of several k-means++ starts.

    Parameters
    ----------
    features : Tensor
        ``(N, D)``. For cosine similarity pass normalised features.
    num_clusters : int
        K, at most N.
    centers : Tensor, optional
        ``(K, D)``: initial centres of a single start, instead of k-means++.
    restarts : int
        Number of k-means++ starts, of which the best is returned.
    max_iterations : int
        Largest number of iterations of a start.
    seed : int
        Random seed of the starts.

    Returns
    -------
    Clusters

    Raises
    ------
    ValueError
        If features hold NaN, or an option is out of range.

    Notes
    -----
    An empty cluster takes the sample that is farthest from its centre. Of equally near centres the one with the lower number
    is taken. Memory: distances of 16,384 rows to all centres at a time.

    References
    ----------
    Lloyd: Least squares quantization in PCM, 1982; Arthur & Vassilvitskii: k-means++, SODA 2007.

    Examples
    --------
    >>> kmeans(torch.tensor([[0.0], [0.2], [5.0], [5.2]]), num_clusters=2).inertia < 0.05
    True
    """
    check_features("features", features)
    if not 1 <= num_clusters <= len(features):
        raise ValueError(f"num_clusters={num_clusters}: expected 1 up to the number of samples, {len(features)}")
    if min(restarts, max_iterations) < 1:
        raise ValueError(f"restarts={restarts}, max_iterations={max_iterations}: expected 1 or more")
    dtype = computed_in(features)
    origin = typical_row(features).to(dtype)
    points = features.to(dtype) - origin  # distances stay the same, their rounding errors get smaller
    generator = torch.Generator().manual_seed(seed)
    if centers is not None:
        check_features("centers", centers)
        if centers.shape != (num_clusters, features.shape[1]):
            raise ValueError(f"centers must be ({num_clusters}, {features.shape[1]}), got {tuple(centers.shape)}")
        starts = [centers.to(points) - origin]
    else:
        starts = [_plus_plus(points, num_clusters, generator) for _ in range(restarts)]
    best = min((_lloyd(points, start, max_iterations) for start in starts), key=lambda clusters: clusters.inertia)
    best.centers = best.centers + origin
    return best


def _plus_plus(points: Tensor, num_clusters: int, generator: torch.Generator) -> Tensor:
    """Return initial centres, each drawn with a probability proportional to its squared distance from the previous ones."""

    def draw(weights: Tensor) -> int:
        total = weights.double().cumsum(0)
        at = float(total[-1]) * float(torch.rand((), generator=generator, dtype=torch.float64))
        return min(int(torch.searchsorted(total, at, right=True)), len(weights) - 1)

    chosen = [draw(torch.ones(len(points), device=points.device))]
    distance = (points - points[chosen[0]]).square().sum(1)
    for _ in range(1, num_clusters):
        chosen.append(draw(distance if float(distance.sum()) > 0 else torch.ones_like(distance)))
        distance = torch.minimum(distance, (points - points[chosen[-1]]).square().sum(1))
    return points[chosen]


def _lloyd(points: Tensor, centers: Tensor, max_iterations: int) -> Clusters:
    assignments = _assign(points, centers)
    iterations, moved = 0, True
    while moved and iterations < max_iterations:
        counts = torch.bincount(assignments, minlength=len(centers))
        empty = (counts == 0).nonzero()[:, 0].tolist()
        distance = _distances(points, centers, assignments) if empty else points[:0, 0]
        for cluster in empty:
            farthest = int(distance.masked_fill(counts[assignments] == 1, -1).argmax())
            counts[assignments[farthest]] -= 1
            assignments[farthest], distance[farthest], counts[cluster] = cluster, 0.0, 1
        centers = torch.zeros_like(centers).index_add_(0, assignments, points) / counts[:, None]
        before, iterations = assignments, iterations + 1
        assignments = _assign(points, centers)
        moved = not torch.equal(assignments, before)
    inertia = float(_distances(points, centers, assignments).double().sum())
    return Clusters(assignments, centers, inertia, iterations)


def _assign(points: Tensor, centers: Tensor) -> Tensor:
    """Return the nearest centre of each point."""
    squares = centers.square().sum(1)
    return torch.cat([(squares - 2 * rows @ centers.T).argmin(1) for rows in points.split(CHUNK_ROWS)])


def _distances(points: Tensor, centers: Tensor, assignments: Tensor) -> Tensor:
    """Return the squared distance of each point to its centre, from differences: squared norms lose digits."""
    pairs = zip(points.split(CHUNK_ROWS), assignments.split(CHUNK_ROWS))
    return torch.cat([(rows - centers[nearest]).square().sum(1) for rows, nearest in pairs])
