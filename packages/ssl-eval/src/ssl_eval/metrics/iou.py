"""Mean intersection over union of a segmentation, counted over batches of masks."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_eval.results import Result
from ssl_eval.validation import UNSIGNED, check_tensor

IGNORED = 255  # label of pixels that do not count: borders of VOC, "other" of ADE20K in mmseg's numbering


@dataclass(frozen=True, eq=False, repr=False)
class IoUResult(Result):
    """Result of :meth:`IoUCounter.compute`.

    Attributes
    ----------
    mean_iou : float
        Mean of ``per_class`` over the classes that a mask or a prediction has, a fraction in 0..1.
    pixel_accuracy : float
        Share of the labelled pixels that are right.
    per_class : Tensor
        ``(K,) float64``: pixels in both over pixels in either; NaN for a class in neither.
    """

    mean_iou: float
    pixel_accuracy: float
    per_class: Tensor


class IoUCounter:
    """Intersection over union, from a confusion matrix that is accumulated over batches: the IoU of all pixels together.

    Parameters
    ----------
    num_classes : int
        K, number of classes.
    ignore_index : int
        Label of the pixels that do not count, outside of ``0..K-1``.
    device : torch.device or str
        Device of ``counts``.

    Attributes
    ----------
    counts : Tensor
        ``(K, K) int64``: pixels by label (row) and prediction (column). Those of several ranks add up.

    Examples
    --------
    >>> counter = IoUCounter(num_classes=3)
    >>> counter.update(torch.tensor([[0, 0, 1]]), torch.tensor([[0, 1, 255]]))
    >>> counter.compute()  # class 0: 1 of 2 pixels, class 1: 0 of 1, class 2 is in neither
    IoUResult(mean_iou=0.25, pixel_accuracy=0.5, per_class=float64 (3,))
    """

    def __init__(self, num_classes: int, ignore_index: int = IGNORED, device: torch.device | str = "cpu") -> None:
        if num_classes < 1 or 0 <= ignore_index < num_classes:
            raise ValueError(
                f"num_classes={num_classes}, ignore_index={ignore_index}: expected 1 or more, and no number of a class"
            )
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.counts = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)

    def update(self, predictions: Tensor, masks: Tensor) -> None:
        """Count a batch: ``predictions`` and ``masks`` are integers of one shape, such as ``(N, H, W)``.

        Raises
        ------
        ValueError
            If shapes disagree, values are not integers, or a label or prediction of a pixel that counts is no class.
        """
        for name, values in (("predictions", predictions), ("masks", masks)):
            check_classes(name, values)
        if predictions.shape != masks.shape:
            raise ValueError(
                f"predictions and masks must have one shape, got {tuple(predictions.shape)} and {tuple(masks.shape)}"
            )
        masks = masks.to(predictions.device)
        known = masks != self.ignore_index
        labels, predicted = masks[known].long(), predictions[known].long()
        for name, values in (("masks", labels), ("predictions", predicted)):
            check_range(name, values, self.num_classes, self.ignore_index)
        pairs = torch.bincount(labels * self.num_classes + predicted, minlength=self.num_classes**2)
        self.counts += pairs.view(self.num_classes, self.num_classes).to(self.counts.device)

    def compute(self) -> IoUResult:
        """Return the IoU of all batches; raises ``ValueError`` before the first labelled pixel."""
        counts = self.counts.double()
        if not bool(counts.any()):
            raise ValueError("the mean IoU needs at least one labelled pixel, got none")
        hits = counts.diagonal()
        per_class = hits / (counts.sum(0) + counts.sum(1) - hits)  # 0 / 0 of a class in neither: NaN
        return IoUResult(float(per_class.nanmean()), float(hits.sum() / counts.sum()), per_class.cpu())


def mean_iou(predictions: Tensor, masks: Tensor, num_classes: int | None = None, ignore_index: int = IGNORED) -> float:
    """Return the mean intersection over union of a segmentation, over all pixels together.

    A class in neither ``predictions`` nor ``masks`` is left out of the mean. A class that is only predicted counts as 0.

    Parameters
    ----------
    predictions, masks : Tensor
        Integers of one shape, such as ``(N, H, W)``.
    num_classes : int, optional
        K, number of classes. Default: one more than the largest class.
    ignore_index : int
        Label of the pixels that do not count, for any prediction.

    Returns
    -------
    float
        A fraction in 0..1.

    Raises
    ------
    ValueError
        If shapes disagree, values are not integers, a value is no class, or no pixel has a label.

    References
    ----------
    Everingham et al.: The PASCAL Visual Object Classes Challenge, IJCV 2010, section 4.2.

    Examples
    --------
    >>> mean_iou(torch.tensor([[0, 0, 1]]), torch.tensor([[0, 1, 255]]))
    0.25
    """
    if num_classes is None:
        for name, values in (("predictions", predictions), ("masks", masks)):
            check_classes(name, values)
        found = [values[values != ignore_index] for values in (predictions, masks)]
        num_classes = 1 + max((int(values.max()) for values in found if len(values)), default=0)
    counter = IoUCounter(num_classes, ignore_index, predictions.device)
    counter.update(predictions, masks)
    return counter.compute().mean_iou


def check_classes(name: str, values: Tensor) -> None:
    """Raise ``ValueError`` unless ``values`` is a tensor of integers."""
    check_tensor(name, values)
    if values.is_floating_point() or values.is_complex() or values.dtype in (torch.bool, *UNSIGNED):
        raise ValueError(f"{name} must be integers (class numbers), got {values.dtype}; try .long()")


def check_range(name: str, values: Tensor, num_classes: int, ignore_index: int) -> None:
    """Raise ``ValueError`` for a value that is outside of ``0..num_classes - 1``."""
    if not values.numel():
        return
    low, high = (int(value) for value in torch.aminmax(values))
    if low < 0 or high >= num_classes:
        wrong = low if low < 0 else high
        raise ValueError(
            f"{name} must be classes in 0..{num_classes - 1}, or ignore_index={ignore_index} in a mask; got {wrong}"
        )
