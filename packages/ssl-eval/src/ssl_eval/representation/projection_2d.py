"""Projection of features to two dimensions: principal components and t-SNE."""

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
    and their sizes mean nothing.

    Parameters
    ----------
    features : Tensor
        ``(N, D)``.
    perplexity : float
        About how many neighbours each sample has; below N / 3.
    iterations : int
        Of gradient descent, at least 250: these first ones are exaggerated.
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
