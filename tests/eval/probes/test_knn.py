"""kNN against brute force and scikit-learn, ties as stated, memory bounded."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from ssl_eval import accuracy, knn


def brute_force(train, labels, test, k, temperature, metric, num_classes):
    """The definition, one query at a time; of equal similarities the lower index first."""
    votes = torch.zeros(len(test), num_classes, dtype=torch.float64)
    for row, query in enumerate(test.double()):
        if metric == "cosine":
            similarity = torch.stack([torch.cosine_similarity(query, r, dim=0) for r in train.double()])
        else:
            similarity = -(train.double() - query).square().sum(1) / 2
        nearest = sorted(range(len(train)), key=lambda i: (-float(similarity[i]), i))[:k]
        for i in nearest:
            votes[row, labels[i]] += math.exp(float(similarity[i] - similarity[nearest[0]]) / temperature)
    return votes / votes.sum(1, keepdim=True)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (20, 0.07), (20, math.inf), (90, 1.0)])
def test_knn_equals_brute_force(make_features, metric, k, temperature):
    train, labels = make_features(90)
    test, _ = make_features(40, seed=1)
    expected = brute_force(train, labels, test, k, temperature, metric, 4)
    torch.testing.assert_close(knn(train, labels, test, k, temperature, metric), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("temperature", [0.07, math.inf])
def test_knn_equals_scikit_learn(make_features, metric, temperature):
    train, labels = make_features(400)
    test, _ = make_features(100, seed=1)

    def weights(distances):
        similarity = 1 - distances if metric == "cosine" else -(distances**2) / 2
        return np.exp((similarity - similarity.max(1, keepdims=True)) / temperature)

    peer = KNeighborsClassifier(20, metric=metric, weights=weights, algorithm="brute")
    expected = torch.as_tensor(peer.fit(train.numpy(), labels.numpy()).predict_proba(test.numpy()))
    torch.testing.assert_close(knn(train, labels, test, 20, temperature, metric), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_knn_does_not_depend_on_the_chunks(make_features, metric):
    train, labels = make_features(130)
    test, _ = make_features(50, seed=1)
    whole = knn(train, labels, test, k=30, metric=metric)
    for query_chunk, reference_chunk in ((25, 1), (1, 65), (7, 11), (50, 29), (64, 130)):
        parts = knn(train, labels, test, k=30, metric=metric, query_chunk=query_chunk, reference_chunk=reference_chunk)
        torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("reference_chunk", [1, 3, 4, 5, 8, 100])
def test_of_equally_near_references_the_lower_index_votes(reference_chunk):
    generator = torch.Generator().manual_seed(0)
    train = torch.randint(0, 2, (60, 3), generator=generator).double()  # integers: equal distances are exactly equal
    test = torch.randint(0, 2, (30, 3), generator=generator).double()
    labels = torch.randint(0, 5, (60,), generator=generator)
    votes = knn(train, labels, test, k=7, metric="euclidean", num_classes=5, reference_chunk=reference_chunk)
    torch.testing.assert_close(votes, brute_force(train, labels, test, 7, 0.07, "euclidean", 5))


def test_collapsed_encoder_scores_as_its_first_references():
    labels = torch.tensor([2, 1, 1, 0, 0, 0])
    votes = knn(torch.ones(6, 4), labels, torch.ones(3, 4), k=3)
    torch.testing.assert_close(votes, torch.tensor([[0.0, 2 / 3, 1 / 3]]).expand(3, 3))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_classes_without_a_vote_are_no_hits(make_features, metric):
    train, labels = make_features(200)
    test, test_labels = make_features(300, seed=1)[0], torch.arange(300) % 4
    one, all_of_them = accuracy(knn(train, labels, test, k=1, metric=metric), test_labels, topk=(1, 3))
    assert one == all_of_them < 0.5
    votes = knn(train, labels, test, k=3, temperature=math.inf, metric=metric)
    assert accuracy(votes, test_labels, topk=(4,))[0] == float(
        (votes[torch.arange(300), test_labels] > 0).double().mean()
    )


def test_metrics_agree_on_features_of_length_one(make_features):
    train, labels = make_features(200)
    test, _ = make_features(50, seed=1)
    train, test = (torch.nn.functional.normalize(x) for x in (train, test))
    torch.testing.assert_close(knn(train, labels, test, metric="euclidean"), knn(train, labels, test))


def test_euclidean_is_exact_far_from_the_origin(make_features):
    train, labels = make_features(200, dtype=torch.float32)
    test, _ = make_features(50, seed=1, dtype=torch.float32)
    far = [x.round(decimals=2) + 4096 for x in (train, test)]
    near = [x - 4096 for x in far]
    torch.testing.assert_close(
        knn(far[0], labels, far[1], metric="euclidean", temperature=1.0),
        knn(near[0], labels, near[1], metric="euclidean", temperature=1.0),
        rtol=1e-3,
        atol=1e-3,
    )


def test_low_temperature_does_not_overflow(make_features):
    train, labels = make_features(50, dtype=torch.float32)
    votes = knn(train, labels, train, k=5, temperature=1e-4)
    assert torch.isfinite(votes).all()
    assert accuracy(votes, labels, topk=(1,)) == (1.0,)  # each is its own nearest


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.uint8])
def test_knn_takes_any_real_dtype(make_features, dtype):
    train, labels = make_features(100)
    train = (10 * train).to(dtype)
    votes = knn(train, labels, train, k=5)
    assert votes.dtype == torch.float32
    torch.testing.assert_close(votes, knn(train.double(), labels, train.double(), k=5).float(), rtol=1e-3, atol=1e-3)


def test_num_classes_adds_empty_columns(make_features):
    train, labels = make_features(50)
    votes = knn(train, labels, train[:3], num_classes=9)
    assert votes.shape == (3, 9)
    assert (votes[:, 4:] == 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 51}, "k=51: expected 1 up to the number of training samples, 50"),
        ({"k": 0}, "k=0"),
        ({"temperature": 0.0}, "temperature=0.0"),
        ({"metric": "cosin"}, "metric='cosin': expected one of 'cosine', 'euclidean'"),
        ({"num_classes": 3}, "train_labels must be below num_classes=3, got 3"),
        ({"query_chunk": 0}, "query_chunk=0"),
        ({"train_labels": torch.zeros(49, dtype=torch.long)}, r"train_labels must be \(50,\)"),
        ({"train_labels": torch.zeros(50)}, "train_labels must be integers"),
        ({"train_labels": torch.full((50,), -1)}, "train_labels must be 0 or more, got -1"),
        ({"train_labels": [0] * 50}, "train_labels must be a torch.Tensor, got list"),
        ({"test_features": torch.zeros(3, 15)}, "same width D, got 16 and 15"),
        ({"test_features": torch.zeros(3, 4, 4)}, r"\(N, D\).*flatten"),
        ({"test_features": torch.zeros(0, 16)}, "at least 1"),
        ({"test_features": torch.tensor([[0.0] * 16, [math.nan] * 16])}, "1 of 2 rows hold NaN.*row 1"),
        ({"train_features": torch.full((50, 16), math.inf)}, "50 of 50 rows"),
        ({"test_features": torch.zeros(50, 16, device="meta")}, "move both to one device"),
    ],
)
def test_knn_with_invalid_arguments_raises(make_features, change, message):
    train, labels = make_features(50)
    arguments = {"train_features": train, "train_labels": labels, "test_features": train} | change
    with pytest.raises(ValueError, match=message):
        knn(**arguments)


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit elsewhere")
def test_memory_is_bounded_by_the_chunks():
    # 8,000 queries against 20,000 references: all similarities at once would take 640 MB.
    script = """
import resource, torch
from ssl_eval import knn
torch.set_num_threads(1)
train, test = torch.randn(20_000, 4), torch.randn(8_000, 4)
labels = torch.arange(20_000) % 10
knn(train[:2000], labels[:2000], test[:1000], k=5)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
knn(train, labels, test, k=5)
knn(torch.ones_like(train), labels, torch.ones(1000, 4), k=5)  # collapsed: every reference is as near as any
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(result.stdout) < 200_000  # kilobytes, as Linux counts them
