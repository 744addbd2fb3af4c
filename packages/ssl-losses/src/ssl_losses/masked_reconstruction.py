"""Masked reconstruction: the pixels of masked patches, predicted (MAE, SimMIM)."""

import torch
from torch import Tensor

from ssl_losses.components.loss import Loss
from ssl_losses.ops.patches import check_patches, masked_mean
from ssl_losses.precision import widened, without_autocast

EPSILON = 1e-6  # added to a patch's variance, as in the authors' code
DISTANCES = ("squared", "absolute")


@without_autocast
def masked_reconstruction(
    prediction: Tensor, target: Tensor, mask: Tensor, normalize_target: bool = True, distance: str = "squared"
) -> Tensor:
    r"""Return the reconstruction error of masked patches (MAE, He et al. 2022, https://arxiv.org/abs/2111.06377; SimMIM,
    Xie et al. 2022, https://arxiv.org/abs/2111.09886).

    .. math::
        \frac{1}{|M|} \sum_{(i, j) \in M} \frac1D \sum_d |\hat x_{ijd} - x_{ijd}|^p

    over the set M of masked patches of the **global** batch, with p = 2 (MAE) or 1 (SimMIM).

    Parameters
    ----------
    prediction : Tensor
        ``(N, P, D)`` float, the decoded pixels of each patch.
    target : Tensor
        ``(N, P, D)`` float, the true pixels: :func:`patchify` of the images.
    mask : Tensor
        ``(N, P)`` or ``(N, H, W)`` bool, True where a patch is masked. Images, and ranks, may have different numbers.
    normalize_target : bool
        Whether to normalise each patch of the target (at least 2 numbers) to mean 0 and (unbiased)
        variance 1: the better of MAE's two targets. SimMIM predicts the pixels themselves: False.
    distance : str
        ``"squared"`` (MAE) or ``"absolute"`` (SimMIM).

    Returns
    -------
    Tensor
        Scalar, float32 or float64, not negative: the mean over the masked patches of the global batch; 0 without any. A
        constant patch is 0 when normalised.

    Examples
    --------
    >>> target = torch.tensor([[[1.0, 3.0], [5.0, 5.0]]])  # one image of two patches of two pixels
    >>> mask = torch.tensor([[True, False]])
    >>> masked_reconstruction(torch.zeros(1, 2, 2), target, mask, normalize_target=False).item()  # (1 + 9) / 2
    5.0
    """
    _check_distance(distance)
    check_patches(prediction, target, mask)
    prediction, target = widened((prediction, target.detach()))
    if normalize_target:
        target = _normalized(target)
    error = prediction - target
    error = error.square() if distance == "squared" else error.abs()
    return masked_mean(error.mean(2), mask)


def _normalized(patches: Tensor) -> Tensor:
    if patches.shape[2] < 2:
        raise ValueError(f"patches of {patches.shape[2]} number have no variance to normalize; normalize_target=False")
    variance, mean = torch.var_mean(patches, dim=2, keepdim=True)
    return (patches - mean) / (variance + EPSILON).sqrt()


def _check_distance(distance: str) -> None:
    if distance not in DISTANCES:
        raise ValueError(f"distance must be one of {', '.join(map(repr, DISTANCES))}, got {distance!r}")


class MaskedReconstructionLoss(Loss):
    """:func:`masked_reconstruction` as a ``torch.nn.Module`` with the same options."""

    def __init__(self, normalize_target: bool = True, distance: str = "squared") -> None:
        _check_distance(distance)
        super().__init__(normalize_target=normalize_target, distance=distance)

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Return the loss of predicted and true patches ``(N, P, D)`` where the mask ``(N, P)`` is True."""
        return masked_reconstruction(prediction, target, mask, **self.options)
