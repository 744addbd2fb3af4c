"""Similarity of representations, against the authors' formulas on kernel matrices, scipy and scikit-learn."""

import numpy as np
import pytest
import torch
from scipy.spatial import procrustes
from sklearn.neighbors import NearestNeighbors

from ssl_eval import linear_cka, mutual_knn, procrustes_similarity, similarity_matrix
from ssl_eval.figures.similarity import LABELS, similarity_figure
from ssl_eval.representation import similarity
from ssl_eval.representation.similarity import MEASURES


def pair(samples=60, widths=(8, 5), seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(samples, 4, generator=generator, dtype=torch.float64)
    mixed = [common @ torch.randn(4, width, generator=generator, dtype=torch.float64) for width in widths]
    return [(x + torch.randn(x.shape, generator=generator, dtype=x.dtype) + 3).to(dtype) for x in mixed]


def cka_of_kernels(x, y):
    """Kornblith et al. 2019, equations 3 and 4: HSIC of centred kernel matrices."""
    n = len(x)
    centring = np.eye(n) - np.ones((n, n)) / n
    kernels = [centring @ (z @ z.T) @ centring for z in (x, y)]
    return np.sum(kernels[0] * kernels[1]) / np.sqrt(np.prod([np.sum(each * each) for each in kernels]))


def debiased_cka_of_kernels(x, y):
    """Song et al. 2012, equation 5, as Nguyen et al. 2021 (equation 3) use it."""

    def hsic(first, second):
        n, one = len(first), np.ones(len(first))
        first, second = (kernel - np.diag(np.diag(kernel)) for kernel in (first, second))
        sums = (one @ first @ one) * (one @ second @ one) / (n - 1) / (n - 2)
        return np.trace(first @ second) + sums - 2 / (n - 2) * (one @ first @ second @ one)

    kernels = [z @ z.T for z in (x, y)]
    return hsic(*kernels) / np.sqrt(hsic(kernels[0], kernels[0]) * hsic(kernels[1], kernels[1]))


@pytest.mark.parametrize("widths", [(8, 5), (100, 3)])
def test_linear_cka_equals_formula_on_kernels(widths, monkeypatch):
    monkeypatch.setattr(similarity, "CHUNK_ELEMENTS", 800)  # several chunks
    x, y = pair(widths=widths)
    assert linear_cka(x, y) == pytest.approx(cka_of_kernels(x.numpy(), y.numpy()), abs=1e-12)
    assert linear_cka(x, y, debiased=True) == pytest.approx(debiased_cka_of_kernels(x.numpy(), y.numpy()), abs=1e-12)


def test_linear_cka_ignores_rotation_shift_and_scale():
    x, y = pair()
    rotation = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(1), dtype=x.dtype))[0]
    assert linear_cka(1e30 * (x @ rotation) + 5e30, y) == pytest.approx(linear_cka(x, y), abs=1e-9)


def test_debiased_cka_of_unrelated_wide_features_is_near_zero():
    x, y = (torch.randn(100, 2000, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert linear_cka(x, y) > 0.9
    assert abs(linear_cka(x, y, debiased=True)) < 0.05


@pytest.mark.parametrize("k", [1, 7, 59])
def test_mutual_knn_equals_scikit_learns_neighbours(k):
    x, y = pair()
    sets = []
    for each in (x, y):
        found = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(each.numpy()).kneighbors()[1]
        sets.append([set(row) for row in found])  # without query points: of the others
    expected = np.mean([len(mine & other) / k for mine, other in zip(*sets)])
    assert mutual_knn(x, y, k) == pytest.approx(expected, abs=1e-12)


def test_mutual_knn_of_duplicates():
    """A sample with more than k duplicates is not its own neighbour, and has k neighbours all the same."""
    rows = torch.cat([torch.ones(6, 3), torch.eye(3)])
    assert mutual_knn(rows, 2 * rows, k=2) == 1
    assert mutual_knn(torch.ones(6, 3), torch.ones(6, 2), k=2) <= 1


def test_procrustes_equals_scipys_disparity():
    x, y = pair(widths=(6, 6))
    disparity = procrustes(x.numpy(), y.numpy())[2]
    assert 1 - procrustes_similarity(x, y) ** 2 == pytest.approx(disparity, abs=1e-12)
    wider = torch.cat([y, torch.zeros(len(y), 3)], 1)
    assert procrustes_similarity(x, wider) == pytest.approx(procrustes_similarity(x, y), abs=1e-12)


@pytest.mark.parametrize("measure", ["linear_cka", "mutual_knn", "procrustes"])
def test_similarity_matrix(measure):
    x, y = pair()
    compare = similarity.MEASURES[measure]
    matrix = similarity_matrix([x, y], measure=measure)
    assert matrix.diagonal().tolist() == pytest.approx([1, 1])
    assert matrix[0, 1].item() == matrix[1, 0].item() == pytest.approx(compare(x, y))
    assert similarity_matrix([x], [x, y], measure).tolist() == [pytest.approx(matrix[0].tolist())]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: linear_cka(x, x[:-1]), "two representations of the same samples.* got 60 and 59 rows"),
        (lambda x: linear_cka(x[:3], x[:3], debiased=True), "at least 4: got 3 and 3"),
        (lambda x: linear_cka(x, torch.ones(60, 2)), "all rows of a representation are equal"),
        (lambda x: procrustes_similarity(x, torch.ones(60, 2)), "all rows of a representation are equal"),
        (lambda x: mutual_knn(x, x, k=60), "k=60: expected 1 up to the other samples, 59"),
        (lambda x: similarity_matrix([x], measure="cka"), "measure='cka': expected one of 'linear_cka'"),
        (lambda x: linear_cka(x, x.masked_fill(x > 8, torch.nan)), "must be finite"),
    ],
)
def test_invalid_arguments_raise(call, message):
    with pytest.raises(ValueError, match=message):
        call(pair()[0])


def test_figure_has_a_number_in_each_cell():
    matrix = torch.tensor([[1.0, 0.996, -0.04], [0.996, 1.0, 0.5], [-0.04, 0.5, 1.0]])
    figure = similarity_figure(matrix, ["first", "second", "x" * 50], "debiased_cka", "40 images")
    ax, bar = figure.axes
    assert [text.get_text() for text in ax.texts] == ["1", ".99", "−.04", ".99", "1", ".50", "−.04", ".50", "1"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["first", "second", f"…{31 * 'x'}"]
    assert (ax.get_title(), bar.get_ylabel()) == ("40 images", "debiased linear CKA")
    assert set(LABELS) == set(MEASURES)
    many = similarity_figure(torch.eye(60), [str(number) for number in range(60)])
    assert not many.axes[0].texts
    assert len(many.axes[0].get_xticklabels()) == 30
    with pytest.raises(ValueError, match=r"matrix: expected \(2, 2\), a row for each of the labels, got \(3, 3\)"):
        similarity_figure(matrix, ["a", "b"])
