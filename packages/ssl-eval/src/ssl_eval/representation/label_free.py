"""All measures that need no labels."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_eval.metrics.registry import LABEL_FREE
from ssl_eval.representation.alignment_uniformity import alignment, uniformity
from ssl_eval.representation.spectrum import SPECTRAL, lidar
from ssl_eval.validation import check_features


def label_free(
    features: Tensor,
    views: Tensor | None = None,
    uniformity_samples: int = 5000,
    seed: int = 0,
    measures: Sequence[str] = LABEL_FREE,
) -> dict[str, float]:
    """Return the label-free measures by name; those of views only if there are views.

    Parameters
    ----------
    features : Tensor
        ``(N, D)``.
    views : Tensor, optional
        ``(n, q, D)``: for LiDAR and the alignment.
    uniformity_samples : int
        Number of features whose pairs the uniformity compares.
    seed : int
        Random seed of these features.
    measures : sequence of str
        Names of :data:`ssl_eval.metrics.registry.LABEL_FREE`; ``lidar`` and ``alignment`` need views.

    Returns
    -------
    dict
        Name -> value. A measure without a value (a power law needs two eigenvalues) is left out.

    Raises
    ------
    ValueError
        If features hold NaN.
    """
    check_features("features", features)
    values: dict[str, float] = {}
    for name in measures:
        try:
            if name in SPECTRAL:
                values[name] = SPECTRAL[name](features)
        except ValueError:
            if not bool(torch.isfinite(features).all()):
                raise
    if "uniformity" in measures and len(features) > 1:
        values["uniformity"] = uniformity(
            features[sample_rows(len(features), uniformity_samples, seed).to(features.device)]
        )
    if "lidar" in measures and views is not None:
        values["lidar"] = lidar(views)
    if "alignment" in measures and views is not None:
        values["alignment"] = alignment(views[:, 0], views[:, 1])
    return {name: value for name, value in values.items() if math.isfinite(value)}


def sample_rows(samples: int, limit: int, seed: int) -> Tensor:
    """Return the ascending numbers of ``limit`` rows of ``samples``, or of all if they are fewer."""
    if samples <= limit:
        return torch.arange(samples)
    return torch.randperm(samples, generator=torch.Generator().manual_seed(seed))[:limit].sort().values
