"""Masked feature regression: a teacher's features of masked patches, predicted (I-JEPA, data2vec)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_losses.components.loss import Loss
from ssl_losses.ops.patches import check_patches, masked_mean
from ssl_losses.precision import widened, without_autocast


@without_autocast
def masked_feature_regression(
    prediction: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    beta: float = 1.0,
    normalize_target: bool = True,
) -> Tensor:
    r"""Return the smooth L1 distance of features of masked patches (I-JEPA, Assran et al. 2023,
    https://arxiv.org/abs/2301.08243; data2vec, Baevski et al. 2022, https://arxiv.org/abs/2202.03555).

    .. math::
        \frac{1}{|M|} \sum_{(i, j) \in M} \frac1D \sum_d \ell_\beta(\hat h_{ijd} - h_{ijd}), \qquad
        \ell_\beta(e) = \begin{cases} e^2 / (2 \beta) & |e| < \beta \\ |e| - \beta / 2 & \text{else} \end{cases}

    over the set M of masked patches of the **global** batch.

    Parameters
    ----------
    prediction : Tensor
        ``(N, P, D)`` float, the prediction for each patch.
    target : Tensor
        ``(N, P, D)`` float, the teacher's features; no gradient flows into them. For data2vec, the mean of its last blocks.
    mask : Tensor, optional
        ``(N, P)`` or ``(N, H, W)`` bool, True where a patch is masked. Without one every patch counts: I-JEPA gathers those
        of its target blocks beforehand.
    beta : float
        β, the error at which the square becomes a line, at least 0. 1 in the authors' code of I-JEPA (whose paper writes the
        squared distance), 2 for data2vec on images; 0 is the absolute distance.
    normalize_target : bool
        Whether to normalise each target to mean 0 and variance 1 over its D features, as both do.

    Returns
    -------
    Tensor
        Scalar, float32 or float64, not negative: the mean over the masked patches of the global batch; 0 without any.

    Examples
    --------
    >>> target = torch.tensor([[[1.0, -1.0], [5.0, 5.0]]])  # one image of two patches
    >>> round(masked_feature_regression(torch.zeros(1, 2, 2), target, torch.tensor([[True, False]])).item(), 4)
    0.5
    """
    _check_beta(beta)
    check_patches(prediction, target, mask)
    prediction, target = widened((prediction, target.detach()))
    if normalize_target:
        target = F.layer_norm(target, target.shape[2:])
    distance = F.smooth_l1_loss(prediction, target, reduction="none", beta=beta).mean(2)
    return masked_mean(distance, torch.ones_like(distance, dtype=torch.bool) if mask is None else mask)


def _check_beta(beta: float) -> None:
    if not (beta >= 0 and math.isfinite(beta)):
        raise ValueError(f"beta must be finite and at least 0, got {beta}; 1 for I-JEPA, 2 for data2vec on images")


class MaskedFeatureRegressionLoss(Loss):
    """:func:`masked_feature_regression` as a ``torch.nn.Module`` with the same options."""

    def __init__(self, beta: float = 1.0, normalize_target: bool = True) -> None:
        _check_beta(beta)
        super().__init__(beta=beta, normalize_target=normalize_target)

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the loss of predicted and true features ``(N, P, D)``, where the mask ``(N, P)``, if given, is True."""
        return masked_feature_regression(prediction, target, mask, **self.options)
