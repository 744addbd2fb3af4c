"""Spherical k-means, its work shared by the ranks.

Written by hand because scikit-learn's k-means is Euclidean, on the CPU and in one process.
"""

import torch
import torch.distributed as dist
from torch import Tensor

from ssl_losses.distributed import all_reduce_with_gradient, rank, world_size
from ssl_losses.ops.normalize import SHORTEST, unit_rows
from ssl_losses.similarity.nearest import nearest


@torch.no_grad()
def spherical_kmeans(
    rows: Tensor, num_clusters: int, iterations: int = 10, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Return the centroids and the assignments of spherical k-means (Dhillon & Modha 2001,
    https://doi.org/10.1023/A:1007612920971).

    Each row goes to the centroid of the largest cosine; each centroid becomes the direction of its rows' sum. One without
    a row stays where it is.

    Parameters
    ----------
    rows : Tensor
        ``(S, D)`` unit rows, **the same on all ranks**: each rank works on its share of them, and only sums travel.
    num_clusters : int
        K, at most S. The first centroids are K of the rows, drawn by rank 0.
    iterations : int
        Times that the centroids move.
    generator : torch.Generator, optional
        Generator on the CPU for the draw; torch's own by default. That of rank 0 is used.

    Returns
    -------
    centroids, assignments : Tensor
        ``(K, D)`` unit rows and ``(S,)`` int64, the same on all ranks.

    Examples
    --------
    >>> rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> centroids, assignments = spherical_kmeans(rows, num_clusters=1)
    >>> [round(x, 4) for x in centroids[0].tolist()], assignments.tolist()
    ([0.8944, 0.4472], [0, 0, 0])
    """
    if not 1 <= num_clusters <= len(rows):
        raise ValueError(
            f"{num_clusters} clusters need at least as many rows, got {len(rows)}; lower num_clusters (num_prototypes)"
        )
    mine = torch.arange(rank(), len(rows), world_size(), device=rows.device)
    share = rows[mine]
    centroids = rows[_drawn(len(rows), generator).to(rows.device)[:num_clusters]]
    for _ in range(iterations):
        labels = nearest(share, centroids)
        sums = all_reduce_with_gradient(torch.zeros_like(centroids).index_add_(0, labels, share))
        moved = torch.linalg.vector_norm(sums, dim=1, keepdim=True) >= SHORTEST
        centroids = torch.where(moved, unit_rows(sums), centroids)
    assignments = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
    assignments[mine] = nearest(share, centroids)
    return centroids, all_reduce_with_gradient(assignments)


def _drawn(number: int, generator: torch.Generator | None) -> Tensor:
    """Return the numbers below ``number`` in the order that rank 0 draws."""
    order = torch.randperm(number, generator=generator)
    if world_size() > 1:
        device = "cpu" if "cpu:" in str(dist.get_backend_config()) else torch.accelerator.current_accelerator()
        order = order.to(device)
        dist.broadcast(order, 0)
    return order
