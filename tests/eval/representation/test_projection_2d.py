"""Maps against scikit-learn's PCA and exact t-SNE."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from sklearn.manifold._t_sne import _joint_probabilities
from sklearn.metrics import pairwise_distances

from ssl_eval.representation.projection_2d import joint_similarities, principal_components, tsne


def divergence(similarity, points):
    """Kullback and Leibler's, of the map from the similarities: what t-SNE minimises."""
    kernel = 1 / (1 + torch.cdist(points, points).square())
    kernel.fill_diagonal_(0)
    q = kernel / kernel.sum()
    there = similarity > 0
    return float((similarity[there] * (similarity[there] / q[there]).log()).sum())


def test_principal_components_equal_scikit_learns_up_to_the_sign(make_features):
    features, _ = make_features(200, 12)
    ours = principal_components(features, 3)
    peer = PCA(3).fit_transform(features.numpy())
    np.testing.assert_allclose(np.abs(ours.numpy()), np.abs(peer), rtol=1e-7, atol=1e-8)
    assert (ours.gather(0, ours.abs().argmax(0, keepdim=True)) > 0).all()


def test_similarities_equal_scikit_learns(make_features):
    features, _ = make_features(120, 8)
    ours = joint_similarities(features, perplexity=20)
    squared = pairwise_distances(features.numpy(), squared=True).astype(np.float32)
    peer = _joint_probabilities(squared, 20, 0)  # the upper triangle
    np.testing.assert_allclose(ours[np.triu_indices(120, 1)], peer, rtol=2e-3, atol=1e-7)
    assert float(ours.sum()) == pytest.approx(1)


def test_tsne_is_as_good_a_map_as_scikit_learns(make_features):
    features, _ = make_features(200, 10, num_classes=4, separation=2.0)
    ours = tsne(features, perplexity=20)
    peer = TSNE(perplexity=20, method="exact", init="pca", max_iter=750, random_state=0).fit_transform(features.numpy())
    similarity = joint_similarities(features, 20)
    assert divergence(similarity, ours) <= 1.1 * divergence(similarity, torch.as_tensor(peer).double())
    theirs = trustworthiness(features.numpy(), peer, n_neighbors=10)
    assert trustworthiness(features.numpy(), ours.numpy(), n_neighbors=10) > theirs - 0.02
    assert torch.equal(ours, tsne(features, perplexity=20))


def test_duplicates_and_invalid_positions():
    assert torch.isfinite(tsne(torch.ones(30, 3), perplexity=5, iterations=20)).all()
    with pytest.raises(ValueError, match="a third of the 30 samples"):
        tsne(torch.rand(30, 3), perplexity=20)
    with pytest.raises(ValueError, match="up to the width"):
        principal_components(torch.rand(30, 3), 4)
    with pytest.raises(ValueError, match="must be finite"):
        tsne(torch.full((30, 3), torch.nan))
