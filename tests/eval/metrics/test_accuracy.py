"""Accuracy, at once, by class and counted over ranks."""

import math

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score

from ssl_eval import AccuracyCounter, accuracy, confusion_matrix, per_class_accuracy, reliability


@pytest.fixture
def scored():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(500, 10, generator=generator)
    return scores, torch.randint(0, 10, (500,), generator=generator)


def test_accuracy_equals_scikit_learn(scored):
    scores, labels = scored
    expected = [top_k_accuracy_score(labels, scores, k=k, labels=range(10)) for k in (1, 3, 5)]
    assert accuracy(scores, labels, topk=(1, 3, 5)) == pytest.approx(expected, abs=1e-12)


def test_mean_per_class_accuracy_equals_scikit_learns(scored):
    scores, labels = scored
    expected = balanced_accuracy_score(labels, scores.argmax(1))
    assert float(per_class_accuracy(scores, labels).mean()) == pytest.approx(expected)


def test_class_without_samples_has_no_accuracy():
    values = per_class_accuracy(torch.eye(3), torch.tensor([0, 1, 0]))
    assert values[:2].tolist() == [0.5, 1.0]
    assert math.isnan(values[2])


@pytest.mark.parametrize("label", range(4))
def test_tied_classes_share_a_hit(label):
    assert accuracy(torch.zeros(1, 4), torch.tensor([label]), topk=(1, 2, 4)) == (0.25, 0.5, 1.0)
    scores = torch.tensor([[-3.0, -3.0, -3.0, 9.0]]).roll(label, 1)  # the label is the highest one, or one of three
    assert accuracy(scores, torch.tensor([3]), topk=(2,)) == (1.0 if label == 0 else pytest.approx(1 / 3, abs=1e-6),)


@pytest.mark.parametrize(
    "scores",
    [
        torch.tensor([[0.0, 0.75, 0.25]]),
        torch.tensor([[0.0, 0.75, 0.25]], dtype=torch.half),
        torch.tensor([[-math.inf, 2.0, -1.0]]),
        torch.tensor([[0.0, 0.5, 0.5]]).log(),
    ],
)
def test_class_without_a_vote_is_never_a_hit(scores):
    assert accuracy(scores, torch.tensor([0]), topk=(1, 2, 3)) == (0.0, 0.0, 0.0)
    assert per_class_accuracy(scores, torch.tensor([0]))[0] == 0.0


@pytest.mark.parametrize("scores", [[[0.0, 7.0, -1.0]], [[0.0, 7.0, 4.0]], [[0.0, 1.5, -0.5]]])
def test_logits_of_zero_are_ordinary_scores(scores):
    expected = 1.0 if scores[0][2] < 0 else 0.0
    assert accuracy(torch.tensor(scores), torch.tensor([0]), topk=(1, 2, 3)) == (0.0, expected, 1.0)


def test_ties_favour_no_class_number():
    generator = torch.Generator().manual_seed(0)
    votes = torch.randint(0, 4, (600, 6), generator=generator).float()
    votes[:, 0] += 1  # nobody is without a vote
    votes /= votes.sum(1, keepdim=True)
    labels, order = torch.randint(0, 6, (600,), generator=generator), torch.randperm(6, generator=generator)
    numbered_anew = votes[:, order], order.argsort()[labels]
    assert accuracy(*numbered_anew, topk=(1, 2, 3)) == accuracy(votes, labels, topk=(1, 2, 3))
    torch.testing.assert_close(per_class_accuracy(*numbered_anew), per_class_accuracy(votes, labels)[order])
    assert confusion_matrix(torch.zeros(60, 3), torch.arange(60) % 2).tolist() == [[10] * 3, [10] * 3, [0] * 3]
    assert reliability(torch.full((60, 3), 1 / 3), torch.arange(60) // 20).expected_error == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 7])
def test_counts_of_ranks_add_up_to_those_of_one(scored, num_ranks):
    scores, labels = scored
    total = AccuracyCounter()
    for rank in range(num_ranks):
        counter = AccuracyCounter()
        for rows in torch.arange(rank, 500, num_ranks).split(33):
            counter.update(scores[rows], labels[rows])
        total.counts = total.counts + counter.counts
    assert tuple(total.compute().values()) == accuracy(scores, labels)
    assert total.counts.dtype == torch.int64
    assert total.counts[0] == 500


def test_batch_without_samples_counts_nothing():
    counter = AccuracyCounter(topk=(1,))
    counter.update(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))
    assert counter.counts.tolist() == [0, 0]
    with pytest.raises(ValueError, match="at least one sample, got none"):
        counter.compute()


@pytest.mark.parametrize(
    ("scores", "labels", "topk", "message"),
    [
        (
            torch.zeros(2, 3),
            torch.tensor([0, 1]),
            (1, 5),
            r"topk=5 needs as many classes, got scores of K=3.*topk=\(1,\)",
        ),
        (torch.zeros(2, 3), torch.tensor([0, 1]), (), "topk must hold one or more"),
        (torch.zeros(2, 3), torch.tensor([0, 1]), (0,), "topk must hold one or more"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), (1,), "labels must be below num_classes=3, got 3"),
        (torch.zeros(2, 3), torch.tensor([0, -1]), (1,), "labels must be 0 or more, got -1"),
        (torch.zeros(2, 3), torch.tensor([0]), (1,), r"labels must be \(2,\)"),
        ([[0.0, 1.0]], torch.tensor([0]), (1,), "scores must be a torch.Tensor, got list"),
        (torch.zeros(2), torch.tensor([0, 1]), (1,), r"scores must be \(M, K\)"),
        (torch.tensor([[math.nan, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]), (1,), "1 of 2 rows.*diverged"),
    ],
)
def test_accuracy_of_invalid_scores_raises(scores, labels, topk, message):
    with pytest.raises(ValueError, match=message):
        accuracy(scores, labels, topk=topk)
