"""2-D projections: principal components against scikit-learn, and t-SNE as called."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

from ssl_eval.representation.projection_2d import principal_components, tsne


def test_principal_components_equal_scikit_learns_up_to_the_sign(make_features):
    features, _ = make_features(200, 12)
    ours = principal_components(features, 3)
    peer = PCA(3).fit_transform(features.numpy())
    np.testing.assert_allclose(np.abs(ours.numpy()), np.abs(peer), rtol=1e-7, atol=1e-8)
    assert (ours.gather(0, ours.abs().argmax(0, keepdim=True)) > 0).all()


def test_tsne_keeps_neighbours_and_repeats_itself(make_features):
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
