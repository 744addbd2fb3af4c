"""Label-free measures of the spectrum of a representation. Memory does not grow with N.

Hand-written: no well-kept package has these measures.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ssl_eval.validation import check_even, check_features, check_real

CHUNK_ROWS = 8192  # converted to float64 at a time


@torch.no_grad()
def eigenvalues(features: Tensor, centered: bool = True) -> Tensor:
    """Return the eigenvalues of the features' covariance in descending order.

    Parameters
    ----------
    features : Tensor
        ``(N, D)``. Summed in float64 by chunks of rows; additional memory: ``D * D`` numbers.
    centered : bool
        False: eigenvalues of the second moment ``features.T @ features / N``, which are the squared singular values of the
        features divided by N.

    Returns
    -------
    Tensor
        ``(D,) float64``, 0 or more; divided by N (not N - 1).

    Raises
    ------
    ValueError
        If features hold NaN or infinity, or are not ``(N, D)`` with N and D at least 1.

    Examples
    --------
    >>> eigenvalues(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 3.0], [0.0, -3.0]]))
    tensor([4.5000, 0.5000], dtype=torch.float64)
    """
    check_features("features", features)
    chunks = features.split(CHUNK_ROWS)  # a float64 copy of all features would be twice as large as they are
    origin = torch.zeros(features.shape[1], dtype=torch.float64, device=features.device)
    if centered:
        for rows in chunks:
            # Added at once: sums that are kept would fragment the memory between the chunks
            origin += rows.double().sum(0) / len(features)
    moment = torch.zeros(features.shape[1], features.shape[1], dtype=torch.float64, device=features.device)
    for rows in chunks:
        rows = rows.double() - origin
        moment.addmm_(rows.T, rows)
    return torch.linalg.eigvalsh(moment / len(features)).flip(0).clamp(min=0)


def rankme(features: Tensor) -> float:
    r"""Return RankMe, the effective rank of the features: from 1 (one direction) to min(N, D) (equal singular values).

    .. math:: \exp\Big(-\sum_k p_k \log p_k\Big), \quad p_k = \frac{\sigma_k}{\sum_j \sigma_j} + 10^{-7}

    with the singular values :math:`\sigma` of the features, not centred. The constant keeps the logarithm finite and can make
    the value slightly smaller than 1. The paper uses 25,600 samples; the value grows with N below that.

    Garrido, Balestriero, Najman & LeCun: RankMe, ICML 2023, https://arxiv.org/abs/2210.02885; without the constant the
    effective rank of Roy & Vetterli: The effective rank, EUSIPCO 2007.

    Parameters
    ----------
    features : Tensor
        ``(N, D)``.

    Raises
    ------
    ValueError
        As :func:`eigenvalues`.

    Examples
    --------
    >>> round(rankme(torch.eye(8)), 3), round(rankme(torch.ones(8, 4)), 3)
    (8.0, 1.0)
    """
    singular = eigenvalues(features, centered=False).sqrt()
    return _entropy_rank(singular[: min(features.shape)], 1e-7)


def stable_rank(features: Tensor) -> float:
    r"""Return the stable rank :math:`\lVert Z \rVert_F^2 / \lVert Z \rVert_2^2` of the features, not centred.

    From 1 to the rank; small singular values have little influence. Rudelson & Vershynin: Sampling from large matrices,
    JACM 2007, https://arxiv.org/abs/math/0503442.

    Parameters
    ----------
    features : Tensor
        ``(N, D)``. Zeros give 0.

    Examples
    --------
    >>> round(stable_rank(torch.tensor([[2.0, 0.0], [0.0, 1.0]])), 3)
    1.25
    """
    return _over_largest(eigenvalues(features, centered=False))


def nesum(features: Tensor) -> float:
    r"""Return the normalised eigenvalue sum :math:`\sum_i \lambda_i / \lambda_1` of the features' covariance.

    1 if all variance is in one direction, D if the features are white. He & Ozay: Exploring the Gap between
    Collapsed & Whitened Features in Self-Supervised Learning, ICML 2022.

    Parameters
    ----------
    features : Tensor
        ``(N, D)``. Constant features give 0.

    Examples
    --------
    >>> round(nesum(torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])), 3)
    1.25
    """
    return _over_largest(eigenvalues(features))


def alpha_req(features: Tensor, first: int = 11, last: int = 100) -> float:
    r"""Return the exponent :math:`\alpha` of the power law :math:`\lambda_i \propto i^{-\alpha}` of the covariance's spectrum.

    A weighted linear fit of the logarithms; the eigenvalue of rank i has weight 1/i. Representations that transfer well are
    near 1; larger values mean that few directions have most of the variance, smaller ones noise in many directions.

    Agrawal, Mondal, Ghosh & Richards: alpha-ReQ, NeurIPS 2022; the fit is that of Stringer et al.: High-dimensional geometry
    of population responses in visual cortex, Nature 2019.

    Parameters
    ----------
    features : Tensor
        ``(N, D)``.
    first, last : int
        Ranks of the eigenvalues to fit, from 1, both included; ranks above D or N - 1 are left out. If fewer than half of the
        range exists, ``first`` becomes 2: with a small D there is no tail.

    Raises
    ------
    ValueError
        As :func:`eigenvalues`; or with fewer than two eigenvalues above rounding in the range.

    Examples
    --------
    >>> scales = torch.arange(1, 65).double() ** -0.75  # deviations: variances fall as the power -1.5
    >>> features = torch.cat([torch.eye(64), -torch.eye(64)]) * scales
    >>> round(alpha_req(features), 3)
    1.5
    """
    if not 1 <= first < last:
        raise ValueError(f"first={first}, last={last}: expected ranks of eigenvalues, 1 <= first < last")
    values = eigenvalues(features)
    there = int((values > values[0] * len(values) * torch.finfo(torch.float64).eps).sum())
    asked, last = last - first + 1, min(last, there)
    if last - first + 1 < asked / 2:
        first = min(first, 2 if last > 2 else 1)
    if last - first + 1 < 2:
        raise ValueError(
            f"a power law needs two eigenvalues or more, got {there} above rounding; have the features collapsed?"
        )
    rank = torch.arange(first, last + 1, dtype=torch.float64, device=values.device)
    x, y, weight = rank.log(), values[first - 1 : last].log(), 1 / rank
    x, y = x - (weight * x).sum() / weight.sum(), y - (weight * y).sum() / weight.sum()
    return float(-(weight * x * y).sum() / (weight * x * x).sum())


@torch.no_grad()
def lidar(views: Tensor, delta: float = 1e-4) -> float:
    r"""Return LiDAR: the effective rank of the linear discriminants between images, relative to the spread of their views.

    .. math::
        \Sigma_b &= \tfrac{1}{n - 1} \sum_x (\mu_x - \mu)(\mu_x - \mu)^T, \quad
        \Sigma_w = \tfrac{1}{n (q - 1)} \sum_{x, i} (z_{xi} - \mu_x)(z_{xi} - \mu_x)^T + \delta I \\
        \lambda &= \text{eigenvalues of } \Sigma_w^{-1/2} \Sigma_b \Sigma_w^{-1/2}, \quad
        p_i = \lambda_i / \textstyle\sum_j \lambda_j + 10^{-8}, \quad \exp\Big(-\sum_i p_i \log p_i\Big)

    Thilak et al.: LiDAR: Sensing Linear Probing Performance in Joint Embedding SSL Architectures, ICLR 2024,
    https://arxiv.org/abs/2312.04000 (there n = 1,000 images, q = 50 views).

    Parameters
    ----------
    views : Tensor
        ``(n, q, D)``: the embeddings of q views of each of n images, both at least 2.
    delta : float
        Added to the within-image covariance, above 0, in the features' units squared.

    Returns
    -------
    float
        Between 1 and min(D, n - 1).

    Raises
    ------
    ValueError
        If shapes are wrong, embeddings hold NaN, delta is not above 0, or it is too small for embeddings of this scale.

    Examples
    --------
    >>> images, noise = torch.eye(4).repeat(2, 1), torch.tensor([0.1, -0.1, 0.1, -0.1])
    >>> round(lidar(torch.stack([images + noise, images - noise], 1)), 2)
    2.01
    """
    check_real("views", views)
    if views.ndim != 3 or min(views.shape[:2]) < 2:
        raise ValueError(
            f"views must be (n, q, D), n images of q views, both at least 2, got shape {tuple(views.shape)}"
        )
    check_features("views", views.flatten(0, 1))
    if not delta > 0:
        raise ValueError(f"delta={delta}: expected above 0")
    images, num_views, width = views.shape
    means = views.double().mean(1)
    between = torch.cov(means.T).view(width, width)
    within = delta * torch.eye(width, dtype=torch.float64, device=views.device)
    for rows, mean in zip(views.split(max(1, CHUNK_ROWS // num_views)), means.split(max(1, CHUNK_ROWS // num_views))):
        apart = (rows.double() - mean[:, None]).flatten(0, 1)
        within.addmm_(apart.T, apart, alpha=1 / (images * (num_views - 1)))
    # Whitening by the Cholesky factor instead of the symmetric root: the eigenvalues are the same.
    factor, failed = torch.linalg.cholesky_ex(within)
    if int(failed):
        check_even("views", views.flatten(0, 1))
        raise ValueError(
            f"delta={delta} is below the rounding error of a variance of {float(within.diagonal().max()):.3g} within an image; "
            "rescale the embeddings, or pass a larger delta"
        )
    half = torch.linalg.solve_triangular(factor, between, upper=False)
    whitened = torch.linalg.solve_triangular(factor, half.T, upper=False)
    values = torch.linalg.eigvalsh((whitened + whitened.T) / 2).clamp(min=0)
    return _entropy_rank(values, 1e-8)


# Measures that a run logs by name: functions of (N, D) features that return a number.
SPECTRAL: dict[str, Callable[[Tensor], float]] = {
    "rankme": rankme,
    "stable_rank": stable_rank,
    "nesum": nesum,
    "alpha_req": alpha_req,
}


def _entropy_rank(values: Tensor, epsilon: float) -> float:
    total = float(values.sum())
    if total == 0:
        return 0.0
    shares = values / total + epsilon
    return math.exp(float(-(shares * shares.log()).sum()))


def _over_largest(values: Tensor) -> float:
    return float(values.sum() / values[0]) if float(values[0]) > 0 else 0.0
