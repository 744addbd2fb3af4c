"""Similarity of two representations of the same samples: linear CKA, mutual nearest neighbours, Procrustes."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from ssl_eval.probes.knn_search import nearest
from ssl_eval.validation import check_features, typical_row

CHUNK_ELEMENTS = 2**20  # of a chunk of rows in float64


@torch.no_grad()
def linear_cka(first: Tensor, second: Tensor, debiased: bool = False) -> float:
    r"""Return the centred kernel alignment of two representations with linear kernels.

    .. math:: \frac{\lVert Y^T X \rVert_F^2}{\lVert X^T X \rVert_F \, \lVert Y^T Y \rVert_F}

    X and Y are centred. The value does not change if a representation is rotated, shifted or scaled.

    Parameters
    ----------
    first, second : Tensor
        ``(N, D)`` and ``(N, E)``: row i of both is the same sample. N at least 2; at least 4 if ``debiased``.
    debiased : bool
        Use the unbiased estimator of each term. The plain value is too large for few samples: it is near 1 for unrelated
        representations with N below D, where the debiased one is near 0.

    Returns
    -------
    float
        In 0..1; the debiased one can be slightly negative. Computed in float64 by chunks of rows: time N * D * E, memory D * E.

    Raises
    ------
    ValueError
        If features hold NaN, the numbers of rows differ or are too small, or all rows of a representation are equal.

    References
    ----------
    Kornblith, Norouzi, Lee & Hinton: Similarity of Neural Network Representations Revisited, ICML 2019,
    https://arxiv.org/abs/1905.00414. Debiased: Song et al.: Feature Selection via Dependence Maximization, JMLR 2012; Nguyen,
    Raghu & Kornblith, ICLR 2021, https://arxiv.org/abs/2010.15327.

    Examples
    --------
    >>> features = torch.tensor([[0.0, 1.0], [2.0, 0.0], [3.0, 5.0]])
    >>> round(linear_cka(features, 10 * features.flip(1) + 3), 6)
    1.0
    """
    _check_rows(first, second, 4 if debiased else 2)
    term = _debiased_hsic if debiased else _squared_cross_covariance
    norms = term(first, first), term(second, second)
    if not min(norms) > 0:
        raise ValueError("linear_cka: all rows of a representation are equal, so that it has no direction")
    return float(term(first, second) / (norms[0] * norms[1]) ** 0.5)


@torch.no_grad()
def mutual_knn(first: Tensor, second: Tensor, k: int = 10) -> float:
    """Return the mean share of the k nearest neighbours (by cosine) that a sample has in both representations.

    Parameters
    ----------
    first, second : Tensor
        ``(N, D)`` and ``(N, E)``: row i of both is the same sample, which does not count as its own neighbour.
    k : int
        Neighbours of a sample, below N. The paper's 10 is for 1,024 samples; two unrelated representations share k / (N - 1).

    Returns
    -------
    float
        In 0..1.

    Raises
    ------
    ValueError
        If features hold NaN, the numbers of rows differ, or k is out of range.

    References
    ----------
    Huh, Cheung, Wang & Isola: The Platonic Representation Hypothesis, ICML 2024, https://arxiv.org/abs/2405.07987.

    Examples
    --------
    >>> angles = torch.tensor([0.0, 0.1, 0.3, 0.7])
    >>> circle = torch.stack([angles.cos(), angles.sin()], 1)
    >>> mutual_knn(circle, circle.flip(1), k=2)
    1.0
    """
    _check_rows(first, second, 2)
    if not 1 <= k < len(first):
        raise ValueError(f"k={k}: expected 1 up to the other samples, {len(first) - 1}")
    mine, other = _neighbours(first, k), _neighbours(second, k).to(first.device)
    shared = sum(int((mine == other[:, place : place + 1]).sum()) for place in range(k))
    return shared / (k * len(first))


@torch.no_grad()
def procrustes_similarity(first: Tensor, second: Tensor) -> float:
    r"""Return the similarity of two representations after the best rotation of one onto the other.

    The nuclear norm s of :math:`X^T Y`, with X and Y centred and of Frobenius norm 1. The squared Procrustes distance is
    2 - 2 s; the disparity of ``scipy.spatial.procrustes`` is 1 - s².

    Parameters
    ----------
    first, second : Tensor
        ``(N, D)`` and ``(N, E)``: row i of both is the same sample.

    Returns
    -------
    float
        In 0..1. Near 1 for any two representations with N below D. Time N * D * E and D³, memory D * E.

    Raises
    ------
    ValueError
        If features hold NaN, the numbers of rows differ, or all rows of a representation are equal.

    References
    ----------
    Ding, Denain & Steinhardt: Grounding Representation Similarity with Statistical Testing, NeurIPS 2021,
    https://arxiv.org/abs/2108.01661.

    Examples
    --------
    >>> features = torch.tensor([[0.0, 1.0], [2.0, 0.0], [3.0, 5.0]])
    >>> round(procrustes_similarity(features, -4 * features), 6)
    1.0
    """
    _check_rows(first, second, 2)
    sizes = [sum(float(x.square().sum()) for x, _ in _centred_chunks(each, each)) for each in (first, second)]
    if not min(sizes) > 0:
        raise ValueError("procrustes_similarity: all rows of a representation are equal, so that it has no direction")
    product = sum(x.T @ y for x, y in _centred_chunks(first, second))
    return float(torch.linalg.matrix_norm(torch.as_tensor(product), "nuc")) / (sizes[0] * sizes[1]) ** 0.5


MEASURES: dict[str, Callable[[Tensor, Tensor], float]] = {
    "linear_cka": linear_cka,
    "debiased_cka": partial(linear_cka, debiased=True),
    "mutual_knn": mutual_knn,
    "procrustes": procrustes_similarity,
}


def similarity_matrix(first: list[Tensor], second: list[Tensor] | None = None, measure: str = "linear_cka") -> Tensor:
    """Return the similarity of each pair of representations, of layers, checkpoints or runs.

    Parameters
    ----------
    first, second : list of Tensor
        n and m tensors ``(N, D_i)`` of the same N samples. Default: ``first`` with itself.
    measure : {"linear_cka", "debiased_cka", "mutual_knn", "procrustes"}
        See :func:`linear_cka` (``debiased_cka``: with ``debiased=True``), :func:`mutual_knn`, :func:`procrustes_similarity`.

    Returns
    -------
    Tensor
        ``(n, m) float64``.

    Raises
    ------
    ValueError
        For an unknown measure, or as the measure does.

    Examples
    --------
    >>> layers = [torch.tensor([[0.0, 1.0], [2.0, 0.0], [3.0, 5.0]]), torch.tensor([[0.0], [1.0], [0.0]])]
    >>> similarity_matrix(layers).shape
    torch.Size([2, 2])
    """
    if measure not in MEASURES:
        raise ValueError(f"measure={measure!r}: expected one of {', '.join(map(repr, MEASURES))}")
    compare = MEASURES[measure]
    if second is not None:
        return torch.tensor([[compare(x, y) for y in second] for x in first], dtype=torch.float64)
    matrix = torch.zeros(len(first), len(first), dtype=torch.float64)
    for i, x in enumerate(first):
        for j, y in enumerate(first[: i + 1]):
            matrix[i, j] = matrix[j, i] = compare(x, y)
    return matrix


def _check_rows(first: Tensor, second: Tensor, least: int) -> None:
    check_features("first", first)
    check_features("second", second)
    if len(first) != len(second) or len(first) < least:
        raise ValueError(
            f"first and second are two representations of the same samples, at least {least}: got {len(first)} and "
            f"{len(second)} rows"
        )


def _centred_chunks(first: Tensor, second: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Give rows of both in float64, centred and of a size near 1, so that no square overflows."""
    shifts, scales = [], []
    for each in (first, second):
        origin = typical_row(each).double()
        rows = max(1, CHUNK_ELEMENTS // each.shape[1])
        mean = origin + sum((chunk.double() - origin).sum(0) for chunk in each.split(rows)) / len(each)
        shifts.append(mean)
        scales.append(max(float((chunk.double() - mean).abs().max()) for chunk in each.split(rows)) or 1.0)
    rows = max(1, CHUNK_ELEMENTS // max(first.shape[1], second.shape[1]))
    for x, y in zip(first.split(rows), second.split(rows)):
        yield (x.double() - shifts[0]) / scales[0], (y.double().to(x.device) - shifts[1].to(x.device)) / scales[1]


def _squared_cross_covariance(first: Tensor, second: Tensor) -> float:
    product = sum(x.T @ y for x, y in _centred_chunks(first, second))
    return float(torch.as_tensor(product).square().sum())


def _debiased_hsic(first: Tensor, second: Tensor) -> float:
    """Return the unbiased HSIC of linear kernels K and L without their diagonals, from products of D by E numbers.

    It is the trace of K L, plus the product of the sums of K and of L over (n - 1)(n - 2), minus 2 / (n - 2) times the sum of
    the row sums of K by those of L; a factor that cancels is left out.
    """
    n, sums, crossed = len(first), [0.0, 0.0], 0.0
    trace = _squared_cross_covariance(first, second)
    for x, y in _centred_chunks(first, second):
        diagonals = x.square().sum(1), y.square().sum(1)
        rows = [
            -diagonal for diagonal in diagonals
        ]  # of K without its diagonal: the rows of centred features sum to zero
        trace -= float(diagonals[0] @ diagonals[1])
        sums = [before + float(row.sum()) for before, row in zip(sums, rows)]
        crossed += float(rows[0] @ rows[1])
    return trace + sums[0] * sums[1] / ((n - 1) * (n - 2)) - 2 / (n - 2) * crossed


def _neighbours(features: Tensor, k: int) -> Tensor:
    """Return the k nearest others of each row by cosine, ``(N, k) int64``."""
    indices = nearest(features, features, k + 1, "cosine")[1]
    own = indices == torch.arange(len(features), device=features.device)[:, None]
    own[~own.any(1), -1] = True  # it has k + 1 duplicates: any k of them are as near
    return indices[~own].reshape(len(features), k)
