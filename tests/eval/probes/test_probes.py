"""Ridge, SGD and nearest-class-mean probes against scikit-learn and torch's own optimizer."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifierCV
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import StandardScaler

from ssl_eval import linear_probe, nearest_class_mean, ridge_probe, sgd_probe
from ssl_eval.probes.sgd import train_grid


@pytest.mark.parametrize(("num_samples", "width"), [(300, 16), (40, 60), (9000, 8)])
def test_ridge_probe_equals_scikit_learns_leave_one_out(make_features, num_samples, width):
    """Oracle: RidgeClassifierCV, which leaves every sample out in closed form, too."""
    train, labels = make_features(num_samples, width)
    test, test_labels = make_features(100, width, seed=1)
    candidates = [1e-4, 1e-2, 0.3, 10.0]
    ours = ridge_probe(train, labels, test, test_labels, candidates=candidates)
    scaler = StandardScaler().fit(train)
    peer = RidgeClassifierCV([num_samples * c for c in candidates], store_cv_results=True)
    peer.fit(scaler.transform(train), labels)
    assert ours.regularization == pytest.approx(peer.alpha_ / num_samples)
    errors = peer.cv_results_.mean((0, 1))  # (samples, targets, alphas)
    np.testing.assert_allclose(list(ours.left_out_errors.values()), errors, rtol=1e-6)
    expected = torch.as_tensor(peer.decision_function(scaler.transform(test)))
    torch.testing.assert_close(ours.scores, expected, rtol=1e-7, atol=1e-8)
    assert ours.accuracy == pytest.approx(peer.score(scaler.transform(test), test_labels))


def test_ridge_probe_takes_constant_features_and_one_candidate(make_features):
    train, labels = make_features(200)
    constant = torch.cat([train, torch.full((200, 2), 1e6, dtype=train.dtype)], 1)
    plain = ridge_probe(train, labels, train, labels, regularization=0.1)
    assert plain.left_out_errors == {}
    torch.testing.assert_close(ridge_probe(constant, labels, constant, labels, regularization=0.1).scores, plain.scores)


def test_sgd_grid_equals_torchs_optimizer_at_each_learning_rate(make_features):
    """Oracle: torch.optim.SGD on torch.nn.Linear, one learning rate at a time, on the same batches."""
    features, labels = make_features(100, 12)
    lrs, epochs, batch = (0.01, 0.3), 5, 32
    grid = train_grid(features, labels, 4, lrs, epochs, batch, weight_decay=1e-2, seed=3)
    for lr, (weight, bias) in zip(lrs, grid):
        peer = torch.nn.Linear(12, 4, dtype=torch.float64)
        torch.nn.init.zeros_(peer.weight)
        torch.nn.init.zeros_(peer.bias)
        groups = [{"params": [peer.weight], "weight_decay": 1e-2}, {"params": [peer.bias]}]
        optimizer = torch.optim.SGD(groups, lr, momentum=0.9)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * 4)
        generator = torch.Generator().manual_seed(3)
        for _ in range(epochs):
            for rows in torch.randperm(100, generator=generator).split(batch):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(peer(features[rows]), labels[rows]).backward()
                optimizer.step()
                schedule.step()
        torch.testing.assert_close(weight, peer.weight.detach(), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(bias, peer.bias.detach(), rtol=1e-9, atol=1e-12)


def test_sgd_probe_is_near_the_minimum_of_the_linear_probe(make_features):
    train, labels = make_features(600, 16)
    test, test_labels = make_features(400, 16, seed=1)
    ours = sgd_probe(train, labels, test, test_labels, epochs=60)
    assert set(ours.validation_accuracies) >= {0.001, 0.01, 0.1}
    assert ours.validation_accuracies[ours.lr] == max(ours.validation_accuracies.values())
    assert abs(ours.accuracy - linear_probe(train, labels, test, test_labels).accuracy) < 0.03
    again = sgd_probe(train, labels, test, test_labels, epochs=60)
    assert torch.equal(ours.scores, again.scores)


def test_learning_rate_that_diverges_is_not_chosen(make_features):
    train, labels = make_features(100, 8)
    kwargs = {"epochs": 20, "batch_size": 16, "weight_decay": 1.0}
    assert sgd_probe(train, labels, train, labels, lrs=(0.01, 1e8), **kwargs).lr == 0.01
    with pytest.raises(ValueError, match="all of them diverge"):
        sgd_probe(train, labels, train, labels, lrs=(1e8, 1e9), **kwargs)


def test_test_set_takes_no_part_in_any_choice(make_features):
    train, labels = make_features(200, 8)
    test, test_labels = make_features(50, 8, seed=1)
    for probe, chosen in ((ridge_probe, "regularization"), (sgd_probe, "lr")):
        results = [probe(train, labels, 100 * test, y) for y in (test_labels, test_labels.flip(0))]
        assert getattr(results[0], chosen) == getattr(results[1], chosen)
        assert torch.equal(results[0].scores, results[1].scores)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_nearest_class_mean_equals_its_definition(make_features, metric):
    """Oracle: scikit-learn's NearestCentroid where there is one, the definition for the cosine."""
    train, labels = make_features(120)
    test, _ = make_features(60, seed=1)
    scores = nearest_class_mean(train, labels, test, metric=metric)
    if metric == "euclidean":
        expected = NearestCentroid().fit(train, labels).predict(test)
    else:
        a, b = (torch.nn.functional.normalize(x) for x in (train, test))
        means = torch.stack([torch.nn.functional.normalize(a[labels == c].mean(0), dim=0) for c in range(4)])
        torch.testing.assert_close(scores, b @ means.T)
        expected = (b @ means.T).argmax(1).numpy()
    np.testing.assert_array_equal(scores.argmax(1), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: ridge_probe(x, y, x, y, regularization=0), "above 0"),
        (lambda x, y: ridge_probe(x, y, x, y, candidates=()), "no candidates"),
        (lambda x, y: sgd_probe(x, y, x, y, lrs=(0.1, -1)), "above 0"),
        (lambda x, y: sgd_probe(x, y, x, y, epochs=0), "epochs=0"),
        (lambda x, y: nearest_class_mean(x, y, x, metric="cosin"), "'cosine', 'euclidean'"),
        (lambda x, y: ridge_probe(x, 2 * y, x, y), "of class 1, 3"),
        (lambda x, y: sgd_probe(x, 2 * y, x, y), "of class 1, 3"),
        (lambda x, y: nearest_class_mean(x, 2 * y, x), "of class 1, 3"),
        (lambda x, y: ridge_probe(x / 0, y, x, y), "train_features must be finite"),
        (lambda x, y: sgd_probe(x, y, x[:, :3], y), "same width"),
    ],
)
def test_invalid_arguments_raise(make_features, call, message):
    features, labels = make_features(60, 5)
    with pytest.raises(ValueError, match=message):
        call(features, labels)
