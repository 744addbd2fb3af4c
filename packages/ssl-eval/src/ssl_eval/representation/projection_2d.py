"""Projection of features to two dimensions: principal components, t-SNE and UMAP."""

import warnings
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import Tensor

from ssl_eval.optional import optional_import
from ssl_eval.validation import check_even, check_features


@torch.no_grad()
def principal_components(features: Tensor, num_components: int = 2) -> Tensor:
    """Return the coordinates of the features along their principal components, ``(N, num_components) float64``.

    Signs are fixed: the coordinate with the largest absolute value is positive, so that maps of two runs can be compared.
    Hand-written, six lines: it runs with torch only and on any device.

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
    """Return the t-SNE projection of features, ``(N, num_components) float64``, computed by ``sklearn.manifold.TSNE``.

    It starts at the principal components with a fixed seed: the same features give the same map. Distances between clusters
    and the sizes of clusters have no meaning.

    Parameters
    ----------
    features : Tensor
        ``(N, D)``.
    perplexity : float
        About how many neighbours each sample has; below N / 3.
    iterations : int
        Number of steps of gradient descent, at least 250; the first 250 use early exaggeration.
    num_components : int
        At most D.

    Raises
    ------
    ValueError
        If features hold NaN, a row is a million times as large as the median row, or an option is out of range.
    ImportError
        Without scikit-learn.

    References
    ----------
    van der Maaten & Hinton: Visualizing Data using t-SNE, JMLR 2008; the start is that of Kobak & Berens, 2019.
    """
    check_features("features", features)
    check_even("features", features)
    samples = len(features)
    if not 1 <= perplexity < max(2, samples / 3):
        raise ValueError(f"perplexity={perplexity}: expected 1 up to a third of the {samples} samples")
    if iterations < 250:
        raise ValueError(f"iterations={iterations}: expected 250 or more")
    if not 1 <= num_components <= features.shape[1]:
        raise ValueError(f"num_components={num_components}: expected 1 up to the width of the features")
    with optional_import("t-SNE"):
        from sklearn.manifold import TSNE
    points = features.double() - features.double().mean(0)
    # The map does not depend on the scale, but scikit-learn computes distances in float32.
    points = points / (float(points.std()) or 1.0)
    start = principal_components(points, num_components)
    start = 1e-4 * start / start[:, 0].std().clamp(min=torch.finfo(start.dtype).tiny)
    method = "barnes_hut" if num_components < 4 else "exact"  # the tree is of at most three dimensions
    model = TSNE(num_components, perplexity=perplexity, max_iter=iterations, init=start.cpu().numpy(), method=method)
    return torch.as_tensor(model.fit_transform(points.cpu().numpy())).to(features.device, torch.float64)


def has_umap() -> bool:
    """Return whether the package umap-learn, which :func:`umap` needs, is installed. It is not imported: that takes seconds."""
    try:
        version("umap-learn")
    except PackageNotFoundError:
        return False
    return True


@torch.no_grad()
def umap(
    features: Tensor, num_neighbors: int = 15, min_dist: float = 0.1, num_components: int = 2, seed: int = 0
) -> Tensor:
    """Return the UMAP projection of features, ``(N, num_components) float64``, computed by ``umap.UMAP`` of umap-learn.

    It starts at the principal components: the same features and seed give the same map on one machine. Distances between
    clusters have little meaning, the sizes of clusters none.

    Parameters
    ----------
    features : Tensor
        ``(N, D)``.
    num_neighbors : int
        Neighbours of a sample, itself included; from 2 to N - 1. Small numbers show details, large ones the whole.
    min_dist : float
        Least distance of points in the map, in 0..1.
    num_components : int
        At most D, and below N.
    seed : int
        Random seed.

    Raises
    ------
    ValueError
        If features hold NaN, or an option is out of range.
    ImportError
        Without umap-learn.

    References
    ----------
    McInnes, Healy, Melville: UMAP, 2018, https://arxiv.org/abs/1802.03426.
    """
    check_features("features", features)
    check_even("features", features)
    samples = len(features)
    if not 2 <= num_neighbors < samples:
        raise ValueError(f"num_neighbors={num_neighbors}: expected 2 up to one less than the {samples} samples")
    if not 0 <= min_dist <= 1:
        raise ValueError(f"min_dist={min_dist}: expected a number in 0..1")
    if not 1 <= num_components <= features.shape[1]:
        raise ValueError(f"num_components={num_components}: expected 1 up to the width of the features")
    with optional_import("UMAP"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its parametric variant needs Tensorflow
        from umap import UMAP
    points = features.double() - features.double().mean(0)
    points = points / (float(points.std()) or 1.0)
    start = principal_components(points, num_components)
    # As umap-learn scales its own start
    start = 10 * start / start.abs().max().clamp(min=torch.finfo(start.dtype).tiny)
    model = UMAP(
        num_neighbors, num_components, init=start.float().cpu().numpy(), min_dist=min_dist, random_state=seed, n_jobs=1
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numba and scikit-learn, on their own interfaces
        found = model.fit_transform(points.float().cpu().numpy())
    return torch.as_tensor(found).to(features.device, torch.float64)
