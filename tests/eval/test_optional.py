"""With torch only: what needs another package names it and its installation, everything else works."""

import sys

import pytest
import torch

import ssl_eval
from ssl_eval import Features, Protocol, evaluate_features

LABELS, NUMBERS = torch.arange(60) % 3, torch.arange(4.0)
HITS = LABELS > 0
FEATURES = torch.randn(60, 4, generator=torch.Generator().manual_seed(0)) + LABELS[:, None]
INSTALL = r"pip install {}, or './packages/ssl-eval\[report\]'"


@pytest.fixture
def torch_only(monkeypatch):
    for name in list(sys.modules):
        if name.partition(".")[0] in ("scipy", "sklearn"):
            monkeypatch.delitem(sys.modules, name)
    for name in ("scipy", "sklearn"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("torch_only")
@pytest.mark.parametrize(
    ("call", "package"),
    [
        (lambda: ssl_eval.welch_test(NUMBERS, NUMBERS + 1), "scipy"),
        (lambda: ssl_eval.spearman(NUMBERS, NUMBERS), "scipy"),
        (lambda: ssl_eval.kendall(NUMBERS, NUMBERS), "scipy"),
        (lambda: ssl_eval.mean_interval(NUMBERS), "scipy"),
        (lambda: ssl_eval.paired_test(HITS, HITS), "scipy"),
        (lambda: ssl_eval.cluster_accuracy(LABELS, LABELS), "scipy"),
        (lambda: ssl_eval.tsne(FEATURES, perplexity=5), "scikit-learn"),
    ],
)
def test_missing_package_is_named_with_its_installation(call, package):
    with pytest.raises(ImportError, match=f"needs {package}: {INSTALL.format(package)}") as error:
        call()
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("torch_only")
def test_protocol_omits_only_what_needs_a_package():
    data = Features(FEATURES[:40], LABELS[:40], FEATURES[40:], LABELS[40:])
    protocol = Protocol(knn=[3], few=[2], draws=2, clustering=True, map_samples=20, label_free=False)
    result = evaluate_features(data, protocol)
    assert set(result.omitted) == {"cluster_accuracy", "tsne"}
    assert "needs scipy" in result.omitted["cluster_accuracy"]
    assert {"knn_3", "linear", "linear_2_labels", "cluster_nmi", "cluster_ari"} <= set(result.metrics)
    values = result.metrics["linear_2_labels"]["values"]
    assert sum(values) / 2 == pytest.approx(result.metrics["linear_2_labels"]["mean"])
    assert set(result.map) == {"pca", "labels"}
