"""Out-of-distribution detection, against scikit-learn by OpenOOD's conventions, and scipy."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.covariance import EmpiricalCovariance
from sklearn.metrics import auc, precision_recall_curve, roc_auc_score, roc_curve
from sklearn.neighbors import NearestNeighbors

from ssl_eval import knn_distance, linear_probe, mahalanobis_distance, ood_detection, ood_separation


def measures_by_openood(test, other):
    """``compute_all_metrics`` of OpenOOD 1.5 (openood/evaluators/metrics.py): the other data set is the positive class."""
    scores, is_other = np.concatenate([test, other]), np.repeat([0, 1], [len(test), len(other)])
    false, found, _ = roc_curve(is_other, scores, drop_intermediate=False)
    areas = []
    for truth, score in ((is_other, scores), (1 - is_other, -scores)):
        precision, recall, _ = precision_recall_curve(truth, score)
        areas.append(auc(recall, precision))
    return roc_auc_score(is_other, scores), false[np.argmax(found >= 0.95)], *areas


@pytest.mark.parametrize("decimals", [1, 9])
def test_measures_equal_openoods(decimals):
    generator = torch.Generator().manual_seed(0)
    test = torch.randn(150, generator=generator, dtype=torch.float64).round(decimals=decimals)
    other = (torch.randn(80, generator=generator, dtype=torch.float64) + 1).round(decimals=decimals)
    found = ood_separation(test, other)
    expected = measures_by_openood(test.numpy(), other.numpy())
    assert (found.auroc, found.fpr95, found.aupr_out, found.aupr_in) == pytest.approx(expected, abs=1e-12)


@pytest.fixture
def data(make_features):
    train, labels = make_features(200)
    test, _ = make_features(60, seed=1)
    other = make_features(50, seed=2)[0].flip(1)
    return train, labels, test, other


def test_knn_distance_equals_scikit_learns(data):
    train, _, test, _ = data
    unit = [(x / x.norm(dim=1, keepdim=True)).numpy() for x in (train, test)]
    expected = NearestNeighbors(n_neighbors=7, algorithm="brute").fit(unit[0]).kneighbors(unit[1])[0][:, -1]
    np.testing.assert_allclose(knn_distance(train, test, k=7).numpy(), expected, atol=1e-7)


def test_mahalanobis_distance_equals_scikit_learns(data):
    train, labels, test, _ = data
    means = torch.stack([train[labels == k].mean(0) for k in range(4)])
    covariance = EmpiricalCovariance(assume_centered=True).fit((train - means[labels]).numpy())
    expected = cdist(test.numpy(), means.numpy(), "mahalanobis", VI=covariance.get_precision()).min(1) ** 2
    np.testing.assert_allclose(mahalanobis_distance(train, labels, test).numpy(), expected, rtol=1e-8)


def test_mahalanobis_distance_with_constant_feature(data):
    train, labels, test, _ = data
    wider = [torch.cat([x, torch.ones(len(x), 1)], 1) for x in (train, test)]
    expected = mahalanobis_distance(train, labels, test)
    torch.testing.assert_close(mahalanobis_distance(wider[0], labels, wider[1]), expected, rtol=1e-6, atol=0)


def test_detection_takes_each_score_of_test_and_other(data):
    train, labels, test, other = data
    found = ood_detection(train, labels, test, other, k=9)
    probe = [
        linear_probe(train, labels, x, torch.zeros(len(x)).long()).scores.softmax(1).amax(1) for x in (test, other)
    ]
    expected = {
        "knn": ood_separation(knn_distance(train, test, 9), knn_distance(train, other, 9)),
        "mahalanobis": ood_separation(*(mahalanobis_distance(train, labels, x) for x in (test, other))),
        "max_softmax": ood_separation(*(1 - x for x in probe)),
    }
    assert list(found) == list(expected)
    for name, result in expected.items():
        assert found[name].auroc == pytest.approx(result.auroc, abs=1e-3)  # rounding may exchange near scores
        assert found[name].aupr_in == pytest.approx(result.aupr_in, abs=1e-2)
    assert found["mahalanobis"].auroc > 0.6


def test_one_class_has_no_softmax(data):
    train, labels, test, other = data
    assert list(ood_detection(train, 0 * labels, test, other)) == ["knn", "mahalanobis"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: ood_detection(x, y, x, x, k=201), "k=201: expected 1 up to the number of training samples, 200"),
        (lambda x, y: ood_detection(x, y, x, x[:, :3]), "same width"),
        (lambda x, y: ood_detection(x, y + 1, x, x), "every class 0..4 needs a sample"),
        (lambda x, y: ood_separation(x[:0, 0], x[:, 0]), "test_scores must be .* n at least 1"),
    ],
)
def test_invalid_arguments_raise(data, call, message):
    with pytest.raises(ValueError, match=message):
        call(*data[:2])
