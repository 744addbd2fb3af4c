"""Average precision against scikit-learn, torchmetrics and the code of the PASCAL VOC 2007 development kit."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torchmetrics.functional.classification import multilabel_average_precision

from ssl_eval import average_precision, linear_probe, multilabel_probe


def data(samples=60, labels=4, seed=0, tied=False):
    generator = torch.Generator().manual_seed(seed)
    targets = (torch.rand(samples, labels, generator=generator) < 0.3).long()
    scores = torch.randn(samples, labels, generator=generator) + targets
    return (scores * 2).round() if tied else scores, targets


def voc2007(scores, targets):
    """``VOCevalcls`` of the development kit: all samples sorted, 11 recalls, the highest precision from each on."""
    kept = targets >= 0
    hits = targets[kept][np.argsort(-scores[kept], kind="stable")]
    found = np.cumsum(hits)
    recall, precision = found / hits.sum(), found / np.arange(1, len(hits) + 1)
    best = [max(precision[recall >= k / 10 - 1e-12], default=0) for k in range(11)]
    return sum(best) / 11


@pytest.mark.parametrize("tied", [False, True])
def test_average_precision_equals_scikit_learn_and_torchmetrics(tied):
    scores, targets = data(tied=tied)
    found = average_precision(scores, targets)
    expected = [average_precision_score(targets[:, k], scores[:, k]) for k in range(4)]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    # torchmetrics computes in float32, from probabilities
    others = multilabel_average_precision(scores.sigmoid(), targets, num_labels=4, average=None)
    np.testing.assert_allclose(found, others, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_eleven_points_equal_the_development_kit(seed):
    """With 10 or 20 positives recalls are exactly k / 10, where rounding would decide."""
    for samples, positives in ((60, None), (50, 10), (70, 20)):
        scores, targets = data(samples, seed=seed)
        if positives is not None:
            targets = torch.zeros_like(targets)
            targets[:positives] = 1
        targets[-5:] = -1
        expected = [voc2007(scores[:, k].numpy(), targets[:, k].numpy()) for k in range(4)]
        np.testing.assert_allclose(average_precision(scores, targets, eleven_points=True), expected, atol=1e-12)


def test_difficult_images_do_not_count():
    scores, targets = data()
    left = torch.cat([scores, torch.full((3, 4), 9.0)]), torch.cat([targets, torch.full((3, 4), -1)])
    for points in (False, True):
        assert torch.equal(average_precision(*left, points), average_precision(scores, targets, points))


def test_label_without_an_image_is_nan():
    scores, targets = data()
    targets[:, 1] = 0
    assert average_precision(scores, targets).isnan().tolist() == [False, True, False, False]


def test_invalid_scores_and_targets_raise():
    scores, targets = data()
    for arguments, message in (
        ((scores, targets[:, :2]), "must both be"),
        ((scores.where(targets > 0, torch.nan), targets), "must not be NaN"),
        ((scores, 2 * targets), "must be 1, 0 or -1"),
    ):
        with pytest.raises(ValueError, match=message):
            average_precision(*arguments)


def test_multilabel_probe_is_a_probe_of_each_label():
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(120, 6, generator=generator)
    targets = (
        features @ torch.randn(6, 3, generator=generator) + 0.3 * torch.randn(120, 3, generator=generator) > 0.5
    ).long()
    targets[:4, 0] = -1
    train, test = slice(0, 80), slice(80, None)
    found = multilabel_probe(features[train], targets[train], features[test], targets[test])
    alone = linear_probe(features[4:80], targets[4:80, 0], features[test], targets[test, 0])
    torch.testing.assert_close(found.scores[:, 0], alone.scores[:, 1] - alone.scores[:, 0])
    mean = np.mean([voc2007(found.scores[:, k].numpy(), targets[test, k].numpy()) for k in range(3)])
    assert found.mean_average_precision == pytest.approx(mean)
    assert found.mean_average_precision > 0.8
    with pytest.raises(ValueError, match="label 1 needs an image with it and one without it"):
        multilabel_probe(features[train], targets[train] * torch.tensor([1, 0, 1]), features[test], targets[test])
    with pytest.raises(ValueError, match=r"must be \(N, K\) and \(M, K\)"):
        multilabel_probe(features[train], targets[train, 0], features[test], targets[test])
