"""Episodic few-shot classification, against scikit-learn's nearest centroid on the same episodes."""

import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestCentroid

from ssl_eval import episodic_few_shot
from ssl_eval.probes import episodic


def test_accuracies_equal_scikit_learns_nearest_centroid(make_features, monkeypatch):
    features, labels = make_features(400, num_classes=8, separation=0.5)
    episodes = []
    drawn = episodic._drawn
    monkeypatch.setattr(episodic, "_drawn", lambda *a: (episodes.append(drawn(*a)), episodes[-1])[1])
    monkeypatch.setattr(episodic, "BATCH_ELEMENTS", 1)  # one episode at a time
    found = episodic_few_shot(features, labels, ways=5, shots=3, queries=6, episodes=20)
    points = features - features.mean(0)
    points = (points / points.norm(dim=1, keepdim=True)).numpy()
    expected = []
    for rows in episodes:
        truth = labels[rows]
        assert (truth == truth[:, :1]).all()
        assert len(truth[:, 0].unique()) == 5
        assert len(rows.unique()) == rows.numel() == 5 * 9
        classifier = NearestCentroid().fit(points[rows[:, :3].flatten()], truth[:, :3].flatten())
        expected.append(classifier.score(points[rows[:, 3:].flatten()], truth[:, 3:].flatten()))
    np.testing.assert_allclose(found.accuracies.numpy(), expected, atol=1e-12)
    assert found.mean == pytest.approx(np.mean(expected))
    assert found.half_width == pytest.approx(1.96 * np.std(expected, ddof=1) / math.sqrt(20))
    assert 0.3 < found.mean < 1


def test_episode_depends_on_seed_and_number_alone(make_features):
    features, labels = make_features(200)
    few, many = (episodic_few_shot(features, labels, ways=3, episodes=n).accuracies for n in (4, 9))
    assert torch.equal(few, many[:4])
    assert not torch.equal(few, episodic_few_shot(features, labels, ways=3, episodes=4, seed=1).accuracies)


def test_center_is_subtracted(make_features):
    features, labels = make_features(200)
    moved = episodic_few_shot(features + 100, labels, ways=3, episodes=9, center=features.mean(0) + 100)
    assert torch.equal(moved.accuracies, episodic_few_shot(features, labels, ways=3, episodes=9).accuracies)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ways": 1}, "ways=1: expected at least 2"),
        ({"shots": 0}, "shots=0: expected at least 1"),
        ({"queries": 0}, "queries=0: expected at least 1"),
        ({"ways": 5}, "ways=5, shots=1, queries=15: only 4 classes have 16 samples"),
    ],
)
def test_invalid_options_raise(make_features, options, message):
    with pytest.raises(ValueError, match=message):
        episodic_few_shot(*make_features(80), **options)
