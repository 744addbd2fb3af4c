"""Patch tokens as colours, against the principal components of scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from ssl_eval import token_colors


def test_colors_are_the_scaled_principal_components():
    tokens = torch.randn(2, 5, 6, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tokens = tokens * torch.arange(8, 0, -1)
    colors = token_colors(tokens)
    assert (colors.shape, colors.dtype) == ((2, 5, 6, 3), torch.float64)
    peer = PCA(3).fit_transform(tokens.flatten(0, 2).numpy())
    low, high = np.percentile(peer, [1, 99], axis=0)
    expected = ((peer - low) / (high - low)).clip(0, 1)
    for channel, column in zip(expected.T, colors.flatten(0, 2).T.numpy()):
        flipped = np.abs(column - channel).max() > np.abs(column - (1 - channel)).max()  # the sign is free
        np.testing.assert_allclose(column, 1 - channel if flipped else channel, atol=1e-6)


def test_invalid_tokens_raise():
    with pytest.raises(ValueError, match=r"tokens: expected \(..., D\) with D at least 3, got \(4, 2\)"):
        token_colors(torch.rand(4, 2))
    with pytest.raises(ValueError, match="must be finite"):
        token_colors(torch.full((4, 3), torch.nan))
    assert torch.isfinite(token_colors(torch.ones(4, 3))).all()
