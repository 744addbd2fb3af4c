"""Probes take the features of an encoder as one object, and results are frozen and print in one line."""

from dataclasses import FrozenInstanceError, replace

import pytest
import torch

import ssl_eval
from ssl_eval import Features, Protocol, evaluate_features

PROBES = {
    "knn": (3, lambda *x: ssl_eval.knn(*x, k=3)),
    "nearest_class_mean": (3, ssl_eval.nearest_class_mean),
    "linear_probe": (4, lambda *x: ssl_eval.linear_probe(*x, regularization=0.1)),
    "ridge_probe": (4, ssl_eval.ridge_probe),
    "sgd_probe": (4, lambda *x: ssl_eval.sgd_probe(*x, lrs=[0.1], epochs=2)),
    "few_shot": (4, lambda *x: ssl_eval.few_shot(*x, labels_per_class=3, draws=2)),
}


@pytest.fixture
def features(make_features):
    return Features(*make_features(60, 5, num_classes=3), *make_features(20, 5, num_classes=3, seed=1))


def tensors_of(features, count):
    return (features.train, features.train_labels, features.test, features.test_labels)[:count]


def numbers_of(result):
    return getattr(result, "scores", getattr(result, "accuracies", result))


@pytest.mark.parametrize("name", PROBES)
def test_probe_of_features_equals_probe_of_tensors(features, name):
    """Samples without a label are left out; of a probe that returns only scores, each test sample has its row."""
    count, probe = PROBES[name]
    blank = torch.full((4,), -1)
    more = Features(
        torch.cat([features.train, features.train[:4] + 9]), torch.cat([features.train_labels, blank]),
        torch.cat([features.test, features.test[:4]]), torch.cat([features.test_labels, blank]),
    )  # fmt: skip
    expected = numbers_of(probe(*tensors_of(features, count)))
    torch.testing.assert_close(numbers_of(probe(features)), expected)
    found = numbers_of(probe(more))
    torch.testing.assert_close(found[:20] if count == 3 else found, expected)
    assert count == 4 or len(found) == 24


@pytest.mark.parametrize("name", PROBES)
def test_missing_or_superfluous_tensors_raise(features, name):
    count, probe = PROBES[name]
    with pytest.raises(TypeError, match=r"expected train_features, train_labels, .* or one ssl_eval\.Features"):
        probe(*tensors_of(features, count - 1))
    with pytest.raises(TypeError, match="pass options by keyword"):
        probe(features, 20)


@pytest.mark.parametrize("part", ["train", "train_labels", "test", "test_labels"])
@pytest.mark.parametrize("convert", [torch.Tensor.tolist, torch.Tensor.numpy])
@pytest.mark.parametrize("name", [*PROBES, "evaluate_features"])
def test_lists_and_arrays_name_the_conversion(features, part, convert, name):
    probe = PROBES[name][1] if name in PROBES else lambda x: evaluate_features(x, Protocol())
    with pytest.raises(ValueError, match=r"must be a torch.Tensor, got (list|ndarray); try torch.as_tensor\("):
        probe(replace(features, **{part: convert(getattr(features, part))}))


def test_results_are_frozen_and_print_numbers_and_shapes(features):
    result = ssl_eval.ridge_probe(features)
    assert isinstance(result, ssl_eval.ProbeResult)
    with pytest.raises(FrozenInstanceError):
        result.accuracy = 1.0
    assert repr(result).startswith(f"RidgeProbeResult(accuracy={result.accuracy:.4g}, scores=float64 (20, 3), ")
    whole = evaluate_features(features, Protocol(knn=[1], few=[], map_samples=0))
    assert f"metrics={{'knn_1': {whole.metrics['knn_1']:.4g}, " in repr(whole)
    assert "hits=bool (20,)" in repr(whole)
    assert "\n" not in repr(whole)
