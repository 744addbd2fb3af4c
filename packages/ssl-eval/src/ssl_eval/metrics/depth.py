"""Errors of predicted depth maps, counted over batches."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_eval.results import Result
from ssl_eval.validation import check_real

RATIO = 1.25  # of delta1


@dataclass(frozen=True, eq=False, repr=False)
class DepthResult(Result):
    """Errors of predicted depth, over all measured pixels together.

    Attributes
    ----------
    rmse : float
        Root of the mean squared error, in the unit of the depth.
    abs_rel : float
        Mean of the absolute error over the depth.
    delta1 : float
        Share of the pixels whose prediction is within a factor of 1.25, in 0..1.
    """

    rmse: float
    abs_rel: float
    delta1: float


class DepthCounter:
    """Errors of depth maps, summed up over batches.

    A pixel counts where the depth is above 0 and finite: 0 and NaN mark pixels that were not measured.

    Examples
    --------
    >>> counter = DepthCounter()
    >>> counter.update(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([1.0, 2.0, 0.0]))
    >>> counter.compute()
    DepthResult(rmse=0.7071, abs_rel=0.25, delta1=0.5)
    """

    def __init__(self) -> None:
        self.sums = torch.zeros(4, dtype=torch.float64)  # pixels, squared errors, relative errors, within the ratio

    def update(self, predictions: Tensor, depths: Tensor) -> None:
        """Count a batch of one shape, such as ``(N, H, W)``.

        Raises
        ------
        ValueError
            If shapes disagree, or a prediction of a measured pixel is not finite.
        """
        for name, values in (("predictions", predictions), ("depths", depths)):
            check_real(name, values)
        if predictions.shape != depths.shape:
            raise ValueError(
                f"predictions and depths must have one shape, got {tuple(predictions.shape)} and {tuple(depths.shape)}"
            )
        depths = depths.to(predictions.device)
        known = measured(depths)
        found, true = predictions[known].double(), depths[known].double()
        if not bool(torch.isfinite(found).all()):
            raise ValueError("predictions must be finite where the depth is measured, got NaN or infinity")
        error = (found - true).abs()
        # true / found is infinite at 0, and negative predictions are never within the ratio
        near = (torch.maximum(found / true, true / found) < RATIO) & (found > 0)
        sums = [
            torch.full_like(error.sum(), len(true)),
            error.square().sum(),
            (error / true).sum(),
            near.double().sum(),
        ]
        self.sums += torch.stack(sums).cpu()

    def compute(self) -> DepthResult:
        """Return the errors of all batches; raises ``ValueError`` before the first measured pixel."""
        count, squares, relative, near = self.sums.tolist()
        if not count:
            raise ValueError("errors of depth need at least one measured pixel (above 0), got none")
        return DepthResult((squares / count) ** 0.5, relative / count, near / count)


def depth_errors(predictions: Tensor, depths: Tensor) -> DepthResult:
    """Return RMSE, mean relative error and delta1 of predicted depth, over all measured pixels together.

    Parameters
    ----------
    predictions, depths : Tensor
        ``(N, H, W)`` or another shape, equal for both, in the same unit. Pixels with a depth of 0 or NaN do not count.

    Returns
    -------
    DepthResult

    Raises
    ------
    ValueError
        If shapes disagree, no pixel is measured, or a prediction of a measured pixel is not finite.

    Notes
    -----
    The toolbox of DINOv2's evaluation averages the RMSE of each image; over all pixels together, as here and in most earlier
    papers, the RMSE is equal to that mean or larger.

    References
    ----------
    Eigen, Puhrsch & Fergus: Depth Map Prediction from a Single Image, NeurIPS 2014, https://arxiv.org/abs/1406.2283.

    Examples
    --------
    >>> depth_errors(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([1.0, 2.0, 0.0])).abs_rel
    0.25
    """
    counter = DepthCounter()
    counter.update(predictions, depths)
    return counter.compute()


def measured(depths: Tensor) -> Tensor:
    """Return which pixels have a depth: above 0 and finite."""
    return torch.isfinite(depths) & (depths > 0)
