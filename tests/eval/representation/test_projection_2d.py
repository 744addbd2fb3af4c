"""2-D projections: principal components against scikit-learn, t-SNE and UMAP as called."""

import sys
import types

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

from ssl_eval.representation.projection_2d import has_umap, principal_components, tsne, umap


def test_principal_components_equal_scikit_learns_up_to_the_sign(make_features):
    features, _ = make_features(200, 12)
    ours = principal_components(features, 3)
    peer = PCA(3).fit_transform(features.numpy())
    np.testing.assert_allclose(np.abs(ours.numpy()), np.abs(peer), rtol=1e-7, atol=1e-8)
    assert (ours.gather(0, ours.abs().argmax(0, keepdim=True)) > 0).all()


def test_tsne_keeps_neighbours_and_is_reproducible(make_features):
    """Oracle: the trustworthiness of Venna & Kaski 2006, by scikit-learn."""
    features, _ = make_features(120, 10, num_classes=4, separation=2.0)
    points = tsne(features, perplexity=20, iterations=500)
    assert (points.shape, points.dtype) == ((120, 2), torch.float64)
    linear = trustworthiness(features.numpy(), principal_components(features).numpy(), n_neighbors=10)
    assert trustworthiness(features.numpy(), points.numpy(), n_neighbors=10) > max(0.9, linear)
    assert torch.equal(points, tsne(features, perplexity=20, iterations=500))


def test_duplicates_and_invalid_options():
    assert torch.isfinite(tsne(torch.ones(30, 3), perplexity=5, iterations=250)).all()
    for options, message in (
        ({"perplexity": 20}, "a third of the 30 samples"),
        ({"perplexity": 5, "iterations": 20}, "250 or more"),
        ({"perplexity": 5, "num_components": 4}, "up to the width"),
    ):
        with pytest.raises(ValueError, match=message):
            tsne(torch.rand(30, 3), **options)
    with pytest.raises(ValueError, match="up to the width"):
        principal_components(torch.rand(30, 3), 4)
    with pytest.raises(ValueError, match="must be finite"):
        tsne(torch.full((30, 3), torch.nan))


def test_umap_receives_scaled_features_and_their_components(make_features, monkeypatch):
    """The call of umap-learn, by a stand-in that returns its start."""
    calls = []

    class Stand:
        def __init__(self, n_neighbors, n_components, **options):
            calls.append((n_neighbors, n_components, options))

        def fit_transform(self, points):
            calls.append(points)
            return calls[0][2]["init"]

    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=Stand))
    features, _ = make_features(60, 8)
    found = umap(features, num_neighbors=7, min_dist=0.2, seed=3)
    neighbours, components, options = calls[0]
    assert (neighbours, components, options["min_dist"], options["random_state"]) == (7, 2, 0.2, 3)
    assert (found.shape, found.dtype) == ((60, 2), torch.float64)
    expected = principal_components(features)
    torch.testing.assert_close(found, 10 * expected / expected.abs().max(), rtol=1e-5, atol=1e-5)
    assert float(torch.as_tensor(calls[1]).std()) == pytest.approx(1.0, rel=1e-5)


@pytest.mark.skipif(not has_umap(), reason="umap-learn is not installed")
def test_umap_keeps_neighbours_and_is_reproducible(make_features):
    """Oracle: the trustworthiness of Venna & Kaski 2006, by scikit-learn."""
    features, _ = make_features(120, 10, num_classes=4, separation=2.0)
    points = umap(features)
    assert trustworthiness(features.numpy(), points.numpy(), n_neighbors=10) > 0.85
    assert torch.equal(points, umap(features))


def test_umap_is_optional(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match="UMAP needs umap-learn: pip install umap-learn"):
        umap(torch.rand(30, 3))
    for options, message in (
        ({"num_neighbors": 30}, "num_neighbors=30: expected 2 up to one less than the 30 samples"),
        ({"min_dist": 2.0}, r"min_dist=2.0: expected a number in 0..1"),
        ({"num_components": 4}, "up to the width"),
    ):
        with pytest.raises(ValueError, match=message):
            umap(torch.rand(30, 3), **options)
