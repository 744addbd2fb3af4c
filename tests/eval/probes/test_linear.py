"""The linear probe and its solver against scikit-learn, and the test set kept out of every choice."""

import math
import time

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.linear_model import LogisticRegression as Peer
from sklearn.preprocessing import StandardScaler

from ssl_eval import few_shot, linear_probe
from ssl_eval.probes.lbfgs import LogisticRegression
from ssl_eval.probes.linear import standardization


def objective_of(weight, bias, features, labels, regularization):
    loss = torch.nn.functional.cross_entropy(features @ weight.T + bias.flatten(), labels)
    return float(loss + regularization / 2 * weight.square().sum())


@pytest.mark.parametrize("regularization", [1.0, 1e-2, 1e-4])
@pytest.mark.parametrize(("num_samples", "separation"), [(400, 0.3), (400, 2.0), (20, 1.0)])
def test_solution_equals_scikit_learns(make_features, num_samples, separation, regularization):
    train, labels = make_features(num_samples, separation=separation)
    test, test_labels = make_features(200, separation=separation, seed=1)
    result = linear_probe(train, labels, test, test_labels, regularization=regularization, tolerance=1e-9)

    scaler = StandardScaler().fit(train)
    peer = Peer(C=1 / (num_samples * regularization), tol=1e-10, max_iter=100_000)
    peer.fit(scaler.transform(train), labels)
    expected = torch.as_tensor(scaler.transform(test) @ peer.coef_.T + peer.intercept_)
    # scikit-learn stops by the gradient, near enough for four digits of a logit
    torch.testing.assert_close(result.scores, expected - expected.mean(1, keepdim=True), rtol=2e-3, atol=2e-3)
    assert result.accuracy == pytest.approx(peer.score(scaler.transform(test), test_labels))
    train_scaled = torch.as_tensor(scaler.transform(train))
    theirs = objective_of(
        torch.as_tensor(peer.coef_), torch.as_tensor(peer.intercept_), train_scaled, labels, regularization
    )
    assert result.objective <= theirs * (1 + 1e-7)
    assert result.converged


def test_float32_reaches_the_objective_of_float64(make_features):
    train, labels = make_features(2000, width=64, num_classes=10, separation=0.5)
    fine = linear_probe(train, labels, train, labels, regularization=1e-3, tolerance=1e-8)
    coarse = linear_probe(train.float(), labels, train.float(), labels, regularization=1e-3)
    assert coarse.scores.dtype == torch.float32
    assert coarse.objective == pytest.approx(fine.objective, rel=1e-4)
    assert abs(coarse.accuracy - fine.accuracy) < 0.002


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-6])
def test_objective_ends_within_the_tolerance_of_the_minimum(make_features, tolerance):
    features, labels = make_features(500, width=32, separation=1.0)
    features = (features - features.mean(0)) / features.std(0)
    minimum = LogisticRegression(features, labels, 4).fit(1e-3, tolerance=1e-12)
    fit = LogisticRegression(features, labels, 4).fit(1e-3, tolerance=tolerance)
    assert minimum.objective <= fit.objective <= minimum.objective * (1 + tolerance)
    assert fit.objective - minimum.objective <= fit.gap


@pytest.mark.parametrize("chunk", [3, 7, 15, 1000])  # smaller than a block, one, two, all; each with a rest
def test_gradient_equals_autograd_for_any_chunk(make_features, monkeypatch, chunk):
    features, labels = make_features(100, width=8)
    point = torch.randn(4, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    regression = LogisticRegression(features, labels, 4)
    monkeypatch.setattr("ssl_eval.probes.lbfgs.BLOCK_ROWS", 7)
    regression.chunk = chunk
    objective, gradient = regression.evaluate(point.detach(), 0.1)
    loss = torch.nn.functional.cross_entropy(features @ point[:, :-1].T + point[:, -1], labels)
    (loss + 0.05 * point[:, :-1].square().sum()).backward()
    assert objective == pytest.approx(objective_of(*point.detach().split([8, 1], 1), features, labels, 0.1))
    torch.testing.assert_close(gradient, point.grad)


def test_correlated_features_take_a_few_dozen_iterations():
    generator = torch.Generator().manual_seed(0)
    scales = torch.logspace(0, -3, 128, dtype=torch.float64)[:, None]
    mixing = scales * torch.randn(128, 128, generator=generator, dtype=torch.float64)
    noise = torch.randn(4000, 128, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 10, (4000,), generator=generator)
    features = (noise + 0.3 * torch.randn(10, 128, generator=generator, dtype=torch.float64)[labels]) @ mixing
    features = (features - features.mean(0)) / features.std(0)
    regression = LogisticRegression(features, labels, 10)
    assert regression.fit(1e-4).iterations < 60
    regression._second_moment = None  # plain L-BFGS, to see that the bound is what does it
    assert regression.fit(1e-4).iterations > 120


def test_features_of_another_scale_are_solved_as_well(make_features):
    train, labels = make_features(200)
    for scale in (1e-6, 1e6):
        result = linear_probe(scale * train + 5 * scale, labels, scale * train + 5 * scale, labels)
        reference = linear_probe(train, labels, train, labels)
        assert result.regularization == reference.regularization
        torch.testing.assert_close(result.scores, reference.scores, rtol=1e-2, atol=1e-2)
    wild = linear_probe(30 * train, labels, 30 * train, labels, regularization=1e-2, standardize=False)
    gradient = LogisticRegression(30 * train, labels, 4).evaluate(
        torch.cat([wild.weight, wild.bias[:, None]], 1), 1e-2
    )[1]
    assert float(gradient.square().sum()) / 2e-2 <= 1e-4 * wild.objective


def test_returned_classifier_gives_the_scores(make_features):
    train, labels = make_features(200)
    test, test_labels = make_features(50, seed=1)
    result = linear_probe(train, labels, test, test_labels)
    torch.testing.assert_close(test @ result.weight.T + result.bias, result.scores)


def test_constant_and_repeated_features_change_nothing(make_features):
    train, labels = make_features(200, dtype=torch.float32)
    test, test_labels = make_features(200, seed=1, dtype=torch.float32)
    constant = [torch.cat([x, torch.full((200, 2), 0.1)], 1) for x in (train, test)]
    plain = linear_probe(train, labels, test, test_labels, regularization=1e-2, tolerance=1e-6)
    result = linear_probe(constant[0], labels, constant[1], test_labels, regularization=1e-2, tolerance=1e-6)
    torch.testing.assert_close(result.scores, plain.scores, rtol=1e-2, atol=1e-2)
    repeated = linear_probe(train.repeat(1, 3), labels, test.repeat(1, 3), test_labels)
    assert abs(repeated.accuracy - linear_probe(train, labels, test, test_labels).accuracy) < 0.03


def test_test_set_chooses_nothing(make_features):
    train, labels = make_features(300)
    test, test_labels = make_features(100, seed=1)
    honest = linear_probe(train, labels, test, test_labels)
    misled = linear_probe(train, labels, -100 * test, (test_labels + 1) % 4)
    assert misled.regularization == honest.regularization
    assert misled.validation_losses == honest.validation_losses
    assert torch.equal(misled.weight, honest.weight)


def test_regularization_has_the_lowest_held_out_loss(make_features):
    train, labels = make_features(300, width=40, separation=0.5)
    result = linear_probe(train, labels, train, labels)
    assert result.regularization == min(result.validation_losses, key=result.validation_losses.get)
    assert result.validation_losses[result.regularization] < result.validation_losses[1.0]
    again = linear_probe(train, labels, train, labels)
    assert torch.equal(again.scores, result.scores)  # the same seed, the same numbers
    other = linear_probe(train, labels, train, labels, seed=1)
    assert other.validation_losses != result.validation_losses


def test_held_out_samples_are_not_fitted():
    # Labels that say nothing: memorising the fitted samples costs on held-out ones, and only there.
    generator = torch.Generator().manual_seed(0)
    train, labels = torch.randn(80, 200, generator=generator), torch.arange(80) % 2
    result = linear_probe(train, labels, train, labels)
    assert result.regularization >= 0.1
    assert min(result.validation_losses.values()) > 0.6


def test_few_samples_in_float32_end_without_a_warning(make_features):
    # The bound of the gap, |gradient|² / 2r, cannot come below the rounding of the gradient here.
    features, labels = make_features(8, separation=3.0, dtype=torch.float32)
    result = linear_probe(features, labels, features, labels, regularization=1e-6)
    assert result.converged
    assert result.iterations < 300


def test_stopping_early_warns(make_features):
    train, labels = make_features(200)
    with pytest.warns(RuntimeWarning, match="stopped after max_iterations=2.*above the minimum"):
        result = linear_probe(train, labels, train, labels, regularization=1e-4, max_iterations=2)
    assert not result.converged


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"regularization": 0.0}, "regularization must be above 0, got 0.0"),
        ({"candidates": ()}, "regularization must be above 0"),
        ({"validation_fraction": 1.0}, "validation_fraction=1.0"),
        ({"train_labels": torch.tensor([0, 1] * 20 + [3, 4] * 5)}, "got none of class 2"),
        ({"test_labels": torch.full((50,), 4)}, "test_labels must be below num_classes=4, got 4"),
        ({"test_features": torch.full((50, 16), math.nan)}, "test_features must be finite"),
    ],
)
def test_linear_probe_with_invalid_arguments_raises(make_features, change, message):
    features, labels = make_features(50)
    arguments = {
        "train_features": features,
        "train_labels": labels,
        "test_features": features,
        "test_labels": labels,
    } | change
    with pytest.raises(ValueError, match=message):
        linear_probe(**arguments)


def test_one_sample_a_class_asks_for_a_regularization(make_features):
    features, labels = make_features(4)
    with pytest.raises(ValueError, match=r"pass regularization=0\.01"):
        linear_probe(features, labels, features, labels)
    assert linear_probe(features, labels, features, labels, regularization=0.01).accuracy == 1.0


def test_linear_probe_is_fast(make_features):
    train, labels = make_features(1437, width=256, num_classes=10, separation=0.5, dtype=torch.float32)
    began = time.process_time()
    linear_probe(train, labels, train, labels)
    assert time.process_time() - began < 3.0  # about 0.4 s; the margin is for a busy machine


def test_few_shot_draws_are_those_of_the_seed(make_features):
    data = (*make_features(400), *make_features(200, seed=1))
    result = few_shot(*data, labels_per_class=5, draws=4)
    values = np.array(result.accuracies)
    assert result.mean == pytest.approx(values.mean())
    assert result.std == pytest.approx(values.std(ddof=1))
    assert len(set(result.accuracies)) > 1
    assert few_shot(*data, labels_per_class=5, draws=2).accuracies == result.accuracies[:2]
    assert few_shot(*data, labels_per_class=5, draws=4, seed=1).accuracies != result.accuracies


def test_fraction_of_the_labels_is_drawn_class_by_class(make_features, monkeypatch):
    train, labels = make_features(210)
    labels[:10] = 3  # unbalanced
    drawn = []

    def probe(features, labels, *arguments, **options):
        drawn.append(torch.bincount(labels))
        return linear_probe(features, labels, *arguments, **options)

    monkeypatch.setattr("ssl_eval.probes.low_shot.linear_probe", probe)
    result = few_shot(train, labels, train, labels, labels_per_class=0.1, draws=3)
    expected = (torch.bincount(labels) * 0.1).round().long()
    assert all(torch.equal(counts, expected) for counts in drawn)
    peer = scipy.stats.t.interval(0.95, 2, loc=result.mean, scale=result.std / math.sqrt(3))
    assert result.interval == pytest.approx(peer)
    few_shot(train, labels, train, labels, labels_per_class=0.01, draws=1)  # rounds to one of each
    assert drawn[-1].tolist() == [1, 1, 1, 1]


def test_few_shot_uses_only_its_drawn_labels(make_features):
    train, labels = make_features(400, separation=3.0)
    test, test_labels = make_features(200, separation=3.0, seed=1)
    one, many = (few_shot(train, labels, test, test_labels, labels_per_class=n) for n in (1, 50))
    assert many.mean > one.mean + 0.02
    everything = few_shot(train, labels, test, test_labels, labels_per_class=100, draws=3)
    assert everything.std < 0.02  # every draw holds all samples; only the held-out fifth differs
    single = few_shot(train, labels, test, test_labels, labels_per_class=1, draws=1)
    assert math.isnan(single.std)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels_per_class": 11}, "labels_per_class=11: class 0 has only 10 training samples"),
        ({"labels_per_class": 0}, "labels_per_class=0: expected a whole number, or a fraction below 1"),
        ({"labels_per_class": 2.5}, "labels_per_class=2.5: expected a whole number"),
        ({"draws": 0}, "draws=0: expected 1 or more"),
    ],
)
def test_few_shot_with_invalid_arguments_raises(make_features, change, message):
    features, labels = make_features(40)
    with pytest.raises(ValueError, match=message):
        few_shot(features, labels, features, labels, **change)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
def test_standardization_equals_numpys_in_float64(make_features, offset):
    features = (make_features(3000)[0] + offset).float()
    features[:, 3] = 0.1  # constant
    mean, scale = standardization(features)
    expected = features.double().numpy()
    deviation = np.where(expected.std(0) > 1e-5, expected.std(0), 1.0)
    np.testing.assert_allclose(mean.double(), expected.mean(0), rtol=1e-6)
    np.testing.assert_allclose(scale.double(), deviation, rtol=1e-5)
