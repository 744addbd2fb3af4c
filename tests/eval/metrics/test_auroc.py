"""AUROC against scikit-learn, with ties, and its errors."""

import pytest
import torch
from sklearn.metrics import roc_auc_score

from ssl_eval import auroc


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64])
def test_binary_auroc_equals_scikit_learns_with_ties(generator, dtype):
    labels = torch.randint(2, (200,), generator=generator)
    scores = labels + torch.randint(
        5, (200,), generator=generator
    )  # six values: most pairs of samples are ties somewhere
    assert auroc(scores.to(dtype), labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert auroc(torch.zeros(200), labels) == 0.5


@pytest.mark.parametrize("decimals", [12, 1])
def test_multiclass_auroc_equals_scikit_learns(generator, decimals):
    labels = torch.randint(4, (300,), generator=generator)
    logits = torch.randn(300, 4, generator=generator, dtype=torch.float64) + torch.nn.functional.one_hot(labels, 4)
    votes = logits.softmax(1).mul(10**decimals).round().add(1)
    scores = votes / votes.sum(1, keepdim=True)
    expected = roc_auc_score(labels, scores, multi_class="ovr", average="macro")
    assert auroc(scores, labels) == pytest.approx(expected, abs=1e-12)


def test_absent_class_has_no_area(generator):
    labels = torch.randint(3, (90,), generator=generator)
    scores = torch.randn(90, 4, generator=generator).softmax(1)
    areas = [roc_auc_score(labels == k, scores[:, k]) for k in range(3)]
    assert auroc(scores, labels) == pytest.approx(sum(areas) / 3, abs=1e-12)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (torch.rand(4), torch.zeros(4).long(), "needs samples of two classes, got 4 samples of 1"),
        (torch.rand(4), torch.tensor([0, 1, 2, 0]), "below num_classes=2, got 2"),
        (torch.tensor([0.1, torch.nan]), torch.tensor([0, 1]), "must not be NaN"),
        (torch.randn(4, 3), torch.tensor([0, 1, 2, 0]), "softmax"),
        (torch.rand(4, 3, 2), torch.tensor([0, 1, 2, 0]), r"must be \(M,\) of class 1, or \(M, K\)"),
    ],
)
def test_invalid_auroc_raises(scores, labels, message):
    with pytest.raises(ValueError, match=message):
        auroc(scores, labels)
