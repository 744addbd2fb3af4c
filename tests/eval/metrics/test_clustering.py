"""k-means, agreement of groupings, retrieval, confusion, calibration, intervals: against scikit-learn and scipy."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
import sklearn.cluster
import sklearn.metrics
import torch
from sklearn.calibration import calibration_curve

from ssl_eval import (
    adjusted_rand_index,
    balanced_accuracy,
    best_assignment,
    bootstrap_interval,
    cluster_accuracy,
    confusion_matrix,
    kmeans,
    normalized_mutual_information,
    paired_test,
    reliability,
    retrieval,
)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(5)


def test_kmeans_from_the_same_centres_equals_scikit_learns(make_features):
    features, _ = make_features(500, 8, num_classes=6)
    start = features[:6]
    ours = kmeans(features, 6, centers=start)
    peer = sklearn.cluster.KMeans(6, init=start.numpy(), n_init=1, tol=0, algorithm="lloyd").fit(features.numpy())
    np.testing.assert_array_equal(ours.assignments, peer.labels_)
    assert ours.inertia == pytest.approx(peer.inertia_, rel=1e-9)
    np.testing.assert_allclose(ours.centers, peer.cluster_centers_, rtol=1e-9, atol=1e-9)


def test_kmeans_equals_scikit_learn_and_is_reproducible(make_features):
    features, _ = make_features(400, 8, num_classes=8, separation=2.0)
    ours = kmeans(features, 8, seed=1)
    peer = sklearn.cluster.KMeans(8, n_init=10, random_state=0).fit(features.numpy())
    assert ours.inertia <= 1.02 * peer.inertia_
    assert torch.equal(ours.assignments, kmeans(features, 8, seed=1).assignments)


def test_kmeans_leaves_no_cluster_empty():
    features = torch.tensor([[0.0], [0.1], [0.2], [10.0], [10.1], [20.0]])
    far = torch.tensor([[0.1], [1000.0], [2000.0]])
    assert kmeans(features, 3, centers=far).assignments.unique().tolist() == [0, 1, 2]
    assert kmeans(torch.ones(5, 2), 3).inertia == 0.0  # nothing but duplicates


def test_agreement_equals_scikit_learns(generator):
    for clusters, classes in ((4, 4), (7, 3), (2, 9), (1, 4), (1, 1)):
        first = torch.randint(clusters, (200,), generator=generator)
        second = (first + (torch.rand(200, generator=generator) < 0.3)) % classes
        expected = sklearn.metrics.normalized_mutual_info_score(first, second)
        assert normalized_mutual_information(first, second) == pytest.approx(expected, abs=1e-9)
        assert adjusted_rand_index(first, second) == pytest.approx(sklearn.metrics.adjusted_rand_score(first, second))


@pytest.mark.parametrize("n", [1, 2, 6])
def test_assignment_costs_least_of_all_permutations(generator, n):
    for cost in (torch.randn(n, n, generator=generator), torch.randint(0, 3, (n, n), generator=generator)):
        rows, found = torch.arange(n), best_assignment(cost)
        permutations = torch.tensor(list(itertools.permutations(range(n))))
        assert sorted(found.tolist()) == list(range(n))
        assert float(cost[rows, found].sum()) == pytest.approx(float(cost[rows, permutations].sum(1).min()))


def test_cluster_accuracy_is_that_of_the_best_naming(generator):
    labels = torch.randint(5, (300,), generator=generator)
    renamed = torch.tensor([3, 0, 4, 1, 2])[labels]
    assert cluster_accuracy(renamed, labels) == 1.0
    finer = renamed * 2 + torch.randint(2, (300,), generator=generator)  # every class in two clusters: one is wrong
    assert 0.45 < cluster_accuracy(finer, labels) < 0.65


@pytest.mark.parametrize("alone", [True, False])
def test_retrieval_equals_scikit_learns_average_precision(make_features, monkeypatch, alone):
    queries, labels = make_features(70, 10)
    queries = queries - 0.5
    labels[labels == 3] = torch.arange(int((labels == 3).sum())) + 3  # classes of one image: nothing to be found
    gallery, gallery_labels = (queries, labels) if alone else make_features(90, 10, seed=1)
    similarity = sklearn.metrics.pairwise.cosine_similarity(queries, gallery)
    precisions, hits = [], []
    for row, label in enumerate(labels):
        others = np.arange(len(gallery)) != row if alone else np.full(len(gallery), True)
        same = (gallery_labels == label).numpy()[others]
        if same.any():
            precisions.append(sklearn.metrics.average_precision_score(same, similarity[row][others]))
            hits.append(same[similarity[row][others].argsort()[::-1][:5]].any())
    arguments = () if alone else (gallery, gallery_labels)
    for chunk in (2**23, 200):
        monkeypatch.setattr("ssl_eval.metrics.retrieval.CHUNK_ELEMENTS", chunk)
        ours = retrieval(queries, labels, *arguments, ks=(1, 5))
        assert ours.queries == len(precisions) < 70
        assert ours.mean_average_precision == pytest.approx(np.mean(precisions), rel=1e-9)
        assert ours.recall[5] == pytest.approx(np.mean(hits))


def test_confusion_and_balanced_accuracy_equal_scikit_learns(generator):
    labels = torch.randint(4, (150,), generator=generator)
    scores = torch.randn(150, 4, generator=generator) + torch.nn.functional.one_hot(labels, 4)
    expected = sklearn.metrics.confusion_matrix(labels, scores.argmax(1))
    np.testing.assert_array_equal(confusion_matrix(scores, labels), expected)
    peer = sklearn.metrics.balanced_accuracy_score(labels, scores.argmax(1))
    assert balanced_accuracy(scores, labels) == pytest.approx(peer)


def test_reliability_equals_scikit_learns_calibration_curve(generator):
    labels = torch.randint(3, (400,), generator=generator)
    probabilities = torch.randn(400, 3, generator=generator).add(torch.nn.functional.one_hot(labels, 3)).softmax(1)
    ours = reliability(probabilities, labels, bins=10)
    confidence, predicted = probabilities.max(1)
    right, mean = calibration_curve(predicted == labels, confidence, n_bins=10)
    filled = ours.count > 0
    np.testing.assert_allclose(ours.accuracy[filled], right, rtol=1e-6)
    np.testing.assert_allclose(ours.confidence[filled], mean, rtol=1e-6)
    gap = np.abs(right - mean)
    assert ours.expected_error == pytest.approx((gap * ours.count[filled].numpy()).sum() / 400, rel=1e-6)
    assert ours.largest_error == pytest.approx(gap.max(), rel=1e-6)


def test_certain_classifier_that_is_right_has_no_error():
    assert reliability(torch.eye(3), torch.arange(3)).expected_error == 0.0


def test_bootstrap_interval_is_near_scipys(generator):
    hits = torch.rand(500, generator=generator) < 0.8
    ours = bootstrap_interval(hits, draws=4000)
    peer = scipy.stats.bootstrap((hits.double().numpy(),), np.mean, method="percentile", n_resamples=4000, rng=0)
    assert ours == pytest.approx(tuple(peer.confidence_interval), abs=0.005)
    assert ours == bootstrap_interval(hits, draws=4000)


@pytest.mark.parametrize(("only_first", "only_second"), [(3, 9), (0, 0), (40, 41), (0, 12), (700, 600)])
def test_paired_test_equals_the_binomial_formula(only_first, only_second):
    """Oracle: McNemar 1947, exact: both tails of n fair coins, summed as integers."""
    first = torch.tensor([True] * only_first + [False] * only_second + [True] * 50)
    second = torch.tensor([False] * only_first + [True] * only_second + [True] * 50)
    result = paired_test(first, second)
    n = only_first + only_second
    tail = sum(math.comb(n, k) for k in range(min(only_first, only_second) + 1))
    assert result.p_value == pytest.approx(min(1.0, float(Fraction(2 * tail, 2**n))), rel=1e-9)
    assert result.difference == pytest.approx((only_second - only_first) / (n + 50))
    assert result.interval[0] <= result.difference <= result.interval[1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kmeans(torch.rand(5, 2), 6), "up to the number of samples, 5"),
        (lambda: kmeans(torch.rand(5, 2), 2, centers=torch.rand(2, 3)), r"centers must be \(2, 2\)"),
        (lambda: kmeans(torch.rand(5, 2) / 0, 2), "must be finite"),
        (lambda: cluster_accuracy(torch.tensor([0, 1]), torch.tensor([0])), "labels must be"),
        (lambda: adjusted_rand_index(torch.tensor([0, -1]), torch.tensor([0, 1])), "0 or more"),
        (lambda: retrieval(torch.rand(5, 2), torch.arange(5), ks=(1,)), "no query"),
        (lambda: retrieval(torch.rand(5, 2), torch.zeros(5).long(), ks=(5,)), "up to the images to be found, 4"),
        (lambda: retrieval(torch.rand(5, 2), torch.arange(5), torch.rand(5, 2)), "belong together"),
        (lambda: reliability(torch.randn(5, 3), torch.zeros(5).long()), "softmax"),
        (lambda: bootstrap_interval(torch.rand(0)), "n at least 1"),
        (lambda: paired_test(torch.ones(3), torch.ones(3)), "argmax"),
        (lambda: paired_test(torch.ones(3).bool(), torch.ones(4).bool()), "3 and 4"),
    ],
)
def test_invalid_arguments_raise(call, message):
    with pytest.raises(ValueError, match=message):
        call()
