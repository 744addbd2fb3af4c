"""Unsupervised segmentation: patch tokens of several images, clustered by k-means."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_eval.representation.kmeans import kmeans
from ssl_eval.validation import check_tensor


@torch.no_grad()
def token_clusters(tokens: Tensor, num_clusters: int = 8, restarts: int = 3, seed: int = 0) -> Tensor:
    """Return the k-means cluster of each patch token; the clusters are those of all images together.

    Tokens are centred on their mean over all images and divided by their length, so that distances are those of the cosine.

    Parameters
    ----------
    tokens : Tensor
        ``(N, L, D)``, of the patches only.
    num_clusters : int
        K, number of clusters.
    restarts, seed : int
        As in :func:`ssl_eval.kmeans`.

    Returns
    -------
    Tensor
        ``(N, L) int64`` in ``0..K-1``, numbered by falling size. As a map: ``.unflatten(1, grid)``.

    Raises
    ------
    ValueError
        If tokens hold NaN, have another shape, or are fewer than the clusters.

    Examples
    --------
    >>> tokens = torch.tensor([[[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]])
    >>> token_clusters(tokens, num_clusters=2)
    tensor([[1, 0, 0]])
    """
    check_tensor("tokens", tokens)
    if tokens.ndim != 3:
        raise ValueError(f"tokens must be (N, L, D), got {tuple(tokens.shape)}")
    rows = tokens.flatten(0, 1).float()
    rows = F.normalize(rows - rows.mean(0), dim=1)
    found = kmeans(rows, num_clusters, restarts=restarts, seed=seed).assignments
    order = torch.bincount(found, minlength=num_clusters).argsort(descending=True, stable=True)
    return order.argsort()[found].view(tokens.shape[:2])
