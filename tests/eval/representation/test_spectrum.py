"""Label-free measures against numpy's singular value decomposition and each paper's formula, written down plainly."""

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.spatial.distance import pdist
from torch.utils._python_dispatch import TorchDispatchMode

from ssl_eval import alignment, alpha_req, eigenvalues, lidar, nesum, rankme, stable_rank, uniformity
from ssl_eval.representation.spectrum import CHUNK_ROWS, SPECTRAL


def entropy_rank(values, epsilon):
    shares = values / values.sum() + epsilon
    return np.exp(-(shares * np.log(shares)).sum())


@pytest.mark.parametrize(("samples", "width"), [(300, 16), (10, 16), (9000, 8)])
def test_rankme_and_stable_rank_equal_numpys_singular_values(make_features, samples, width):
    features, _ = make_features(samples, width)
    singular = np.linalg.svd(features.numpy(), compute_uv=False)
    assert rankme(features) == pytest.approx(entropy_rank(singular, 1e-7), rel=1e-9)
    assert stable_rank(features) == pytest.approx((singular**2).sum() / singular[0] ** 2, rel=1e-9)


@pytest.mark.parametrize("samples", [300, 9000])
def test_eigenvalues_and_nesum_equal_numpys_covariance(make_features, samples):
    features, _ = make_features(samples, 12)
    expected = np.linalg.eigvalsh(np.cov(features.numpy().T, bias=True))[::-1]
    np.testing.assert_allclose(eigenvalues(features), expected, rtol=1e-9, atol=1e-12)
    assert nesum(features) == pytest.approx((expected / expected[0]).sum(), rel=1e-9)


@pytest.mark.parametrize(("width", "first", "last"), [(128, 11, 100), (64, 11, 64), (12, 2, 12)])
def test_alpha_req_equals_the_weighted_least_squares_of_stringer(make_features, width, first, last):
    features, _ = make_features(400, width)
    values = np.linalg.eigvalsh(np.cov(features.numpy().T, bias=True))[::-1]
    rank = np.arange(1, width + 1)[first - 1 : last]
    design = np.stack([-np.log(rank), np.ones(len(rank))], 1)
    weight = np.sqrt(1 / rank)[:, None]
    (expected, _), *_ = np.linalg.lstsq(design * weight, np.log(values[first - 1 : last]) * weight[:, 0], rcond=None)
    assert alpha_req(features) == pytest.approx(expected, rel=1e-6)


def test_lidar_equals_its_formula_with_scipys_matrix_root(make_features):
    images, _ = make_features(60, 10)
    views = images[:, None] + 0.3 * torch.randn(60, 5, 10, generator=torch.Generator().manual_seed(3)).double()
    z = views.numpy()
    means = z.mean(1)
    between = sum(np.outer(m, m) for m in means - means.mean(0)) / 59
    within = sum(np.outer(v - m, v - m) for row, m in zip(z, means) for v in row) / (60 * 4) + 1e-4 * np.eye(10)
    root = np.linalg.inv(scipy.linalg.sqrtm(within))
    values = np.linalg.eigvalsh(root @ between @ root)
    assert lidar(views) == pytest.approx(entropy_rank(values, 1e-8), rel=1e-8)
    order = torch.randperm(60)
    assert lidar(views[order]) == pytest.approx(lidar(views), rel=1e-9)


def test_alignment_and_uniformity_equal_their_formulas(make_features):
    features, _ = make_features(1500, 6)
    features = features - features.mean(0)  # no row of zeros, which has no direction
    other = features + 0.1 * torch.randn(1500, 6, generator=torch.Generator().manual_seed(1)).double()
    a, b = (x / x.norm(dim=1, keepdim=True) for x in (features, other))
    assert alignment(features, other) == pytest.approx(float((a - b).square().sum(1).mean()), rel=1e-10)
    assert alignment(features, other, alpha=1) == pytest.approx(float((a - b).norm(dim=1).mean()), rel=1e-10)
    assert uniformity(features) == pytest.approx(np.log(np.exp(-2 * pdist(a.numpy()) ** 2).mean()), rel=1e-9)


def test_half_precision_features_equal_their_float_values(make_features):
    features, _ = make_features(200, 8)
    half = features.to(torch.bfloat16)
    for measure in (*SPECTRAL.values(), uniformity):
        assert measure(half) == pytest.approx(measure(half.double()), rel=1e-3)


def test_collapsed_representation_is_detected(make_features):
    features, _ = make_features(500, 32)
    collapsed = torch.outer(torch.rand(500), torch.ones(32)).double() + 1e-6 * features
    assert rankme(collapsed) < 1.01 < 10 < rankme(features)
    assert nesum(collapsed) < 1.01 < 2 < nesum(features)
    assert stable_rank(torch.zeros(5, 3)) == nesum(torch.ones(5, 3)) == 0.0
    with pytest.raises(ValueError, match="collapsed"):
        alpha_req(torch.ones(50, 3))


@pytest.mark.parametrize("measure", [*SPECTRAL.values(), uniformity, eigenvalues])
def test_nan_raises_with_the_row(measure):
    features = torch.rand(20, 4)
    features[7, 2] = torch.nan
    with pytest.raises(ValueError, match="first is row 7"):
        measure(features)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lidar(torch.rand(5, 3)), r"\(n, q, D\)"),
        (lambda: lidar(torch.rand(5, 1, 3)), "at least 2"),
        (lambda: lidar(torch.rand(5, 2, 3), delta=0), "delta=0"),
        (lambda: alignment(torch.rand(5, 3), torch.rand(4, 3)), "equal shapes"),
        (lambda: alignment(torch.rand(5, 3), torch.rand(5, 3), alpha=0), "alpha=0"),
        (lambda: uniformity(torch.rand(1, 3)), "two features"),
        (lambda: uniformity(torch.rand(5, 3), t=-1), "t=-1"),
        (lambda: alpha_req(torch.rand(50, 30), first=5, last=5), "first < last"),
    ],
)
def test_invalid_arguments_raise(call, message):
    with pytest.raises(ValueError, match=message):
        call()


class LargestDouble(TorchDispatchMode):
    """Record the largest float64 tensor that an operation returns."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor) and found.dtype == torch.float64:
            self.numbers = max(self.numbers, found.numel())
        return found


@pytest.mark.parametrize("centered", [True, False])
def test_memory_does_not_grow_with_samples(centered):
    features = torch.randn(4 * CHUNK_ROWS, 3, generator=torch.Generator().manual_seed(0))
    with LargestDouble() as largest:
        eigenvalues(features, centered)
    assert 0 < largest.numbers <= CHUNK_ROWS * 3
