"""Linear segmentation probe: one linear layer on frozen patch tokens."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_eval.metrics.iou import IGNORED, IoUCounter, IoUResult, check_classes, check_range
from ssl_eval.probes.dense.patches import (
    Grid,
    check_maps,
    check_tokens,
    class_counts,
    image_chunks,
    token_standardization,
    upsampled,
)
from ssl_eval.probes.linear import hold_out
from ssl_eval.probes.sgd import LEARNING_RATES, check_training, train_grid
from ssl_eval.results import Result
from ssl_eval.validation import check_even, computed_in

Scores = Callable[[Tensor], Tensor]  # tokens (M, L, D) -> (M, L, K)
MIN_EPOCHS, MIN_STEPS = 5, 1000  # of the default schedule


@dataclass(frozen=True, eq=False, repr=False)
class SegmentationResult(Result):
    """Result of a segmentation probe.

    Attributes
    ----------
    mean_iou, pixel_accuracy : float
        On the pixels of the test masks that have a label, fractions in 0..1.
    per_class : Tensor
        ``(K,) float64``: the IoU of each class; NaN for a class that neither a test mask nor a prediction has.
    predictions : Tensor
        ``(M, H, W)``: classes of the pixels of the test images; uint8, or int16 for more than 255 classes.
    """

    mean_iou: float
    pixel_accuracy: float
    per_class: Tensor
    predictions: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class SegmentationProbeResult(SegmentationResult):
    """Result of :func:`segmentation_probe`.

    Attributes
    ----------
    lr : float
        The learning rate used.
    validation_ious : dict
        Learning rate -> mean IoU on the held-out training images; empty where there was nothing to choose.
    weight, bias : Tensor
        ``(K, D)`` and ``(K,)``, for tokens as they were given (the standardisation is folded in).
    """

    lr: float
    validation_ious: dict[float, float]
    weight: Tensor
    bias: Tensor


@torch.no_grad()
def segmentation_probe(
    train_tokens: Tensor,
    train_masks: Tensor,
    test_tokens: Tensor,
    test_masks: Tensor,
    grid: Grid | None = None,
    num_classes: int | None = None,
    ignore_index: int = IGNORED,
    lrs: Sequence[float] = LEARNING_RATES,
    epochs: int | None = None,
    batch_size: int = 1024,
    weight_decay: float = 0.0,
    validation_fraction: float = 0.2,
    seed: int = 0,
) -> SegmentationProbeResult:
    """Train a linear layer on frozen patch tokens to segment images, and test it.

    The linear segmentation of DINOv2 on tokens that are extracted once: a linear layer gives a map of logits, which is
    upsampled bilinearly to the size of the mask, and the class of a pixel is the highest one. The layer is trained at the
    resolution of the tokens: its loss is the cross-entropy of every labelled pixel with the logits of its patch, the loss of
    pixels without the interpolation. This divides the cost of a step by the number of pixels in a patch. DINOv2 interpolates in
    training, too.

    SGD with momentum and a cosine to zero, on standardised tokens, as in :func:`ssl_eval.sgd_probe`: all learning rates see the
    same batches of patches. The best by mean IoU on held-out training images is trained again on all of them.

    Parameters
    ----------
    train_tokens, test_tokens : Tensor
        ``(N, L, D)`` and ``(M, L, D)``, the patches only, row by row, on one device; of any floating dtype. Computed in
        float32, or in float64 if they are float64.
    train_masks, test_masks : Tensor
        ``(N, H, W)`` and ``(M, H, W)`` integer: the class of each pixel, in ``0..K-1``, or ``ignore_index``.
    grid : tuple of int, optional
        Height and width in patches. Default: a square.
    num_classes : int, optional
        K, number of classes. Default: one more than the largest class of all masks.
    ignore_index : int
        Label of pixels that count neither in the training nor in the test.
    lrs : sequence of float
        Peak learning rates, above 0. A single one is used without a choice.
    epochs : int, optional
        Passes over the training patches. Default: 5, or as many as give 1,000 steps.
    batch_size : int
        Number of patches in a batch.
    weight_decay : float
        L2 penalty on weights, not on biases.
    validation_fraction : float
        Share of the training images that is held out to choose the learning rate, in (0, 1).
    seed : int
        Random seed of the held-out images and of the order of the batches.

    Returns
    -------
    SegmentationProbeResult

    Raises
    ------
    ValueError
        If tokens hold NaN, shapes disagree, a label is out of range, no pixel has a label, an option is out of range, or all
        learning rates diverge.

    Notes
    -----
    Memory: in addition to the arguments, K numbers of 4 bytes for each training patch, a copy of the training tokens, and
    128 MiB.

    References
    ----------
    Oquab et al.: DINOv2, 2023, https://arxiv.org/abs/2304.07193, section 7.4.

    Examples
    --------
    >>> masks = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 1]]] * 8)  # the left half of each image is of class 0
    >>> tokens = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]] * 8)  # one token for each half
    >>> segmentation_probe(tokens, masks, tokens, masks, grid=(1, 2), lrs=[1.0]).mean_iou
    1.0
    """
    grid = check_tokens(train_tokens, test_tokens, grid)
    num_classes = check_masks(train_tokens, train_masks, test_tokens, test_masks, grid, num_classes, ignore_index)
    check_even("train_tokens", train_tokens.flatten(1))
    counts = class_counts(train_masks.to(train_tokens.device), grid, num_classes, ignore_index)
    labelled = counts.sum(2) > 0
    if epochs is None:
        epochs = max(MIN_EPOCHS, math.ceil(MIN_STEPS / math.ceil(int(labelled.sum()) / max(1, batch_size))))
    check_training(lrs, epochs, batch_size, weight_decay, validation_fraction)
    dtype = computed_in(train_tokens.flatten(0, 1), test_tokens.flatten(0, 1))
    mean, scale = (each.to(dtype) for each in token_standardization(train_tokens))

    def train(images: Tensor, rates: Sequence[float]) -> list[tuple[Tensor, Tensor]]:
        known = labelled[images]
        rows, targets = train_tokens[images][known], counts[images][known]
        size, options = min(batch_size, len(rows)), (weight_decay, seed, (mean, scale))
        found = train_grid(rows, targets, num_classes, rates, epochs, size, *options)
        return [(weight / scale, bias - (weight / scale) @ mean) for weight, bias in found]

    def evaluate(tokens: Tensor, masks: Tensor, classifier: tuple[Tensor, Tensor]) -> tuple[IoUResult, Tensor]:
        def logits(part: Tensor) -> Tensor:
            return part.to(dtype) @ classifier[0].T + classifier[1]

        return segment(tokens, masks, grid, num_classes, ignore_index, logits)

    validation: dict[float, float] = {}
    lr = lrs[0]
    images = labelled.any(1).nonzero()[:, 0]
    if len(lrs) > 1:
        fitted, held_out = held_out_images(images, validation_fraction, seed, "lrs=[0.1]")
        for rate, classifier in zip(lrs, train(fitted, lrs)):
            if all(bool(torch.isfinite(each).all()) for each in classifier):  # else it has diverged
                iou, _ = evaluate(train_tokens[held_out], train_masks[held_out.to(train_masks.device)], classifier)
                validation[rate] = iou.mean_iou
        if not validation:
            raise ValueError(f"lrs={tuple(lrs)}: all of them diverge; try smaller ones")
        lr = max(validation, key=lambda each: (validation[each], -each))  # of equal ones the smallest
    (classifier,) = train(images, [lr])
    iou, predictions = evaluate(test_tokens, test_masks, classifier)
    return SegmentationProbeResult(
        iou.mean_iou, iou.pixel_accuracy, iou.per_class, predictions, lr, validation, *classifier
    )


def check_masks(
    train_tokens: Tensor,
    train_masks: Tensor,
    test_tokens: Tensor,
    test_masks: Tensor,
    grid: Grid,
    num_classes: int | None,
    ignore_index: int,
) -> int:
    """Check the masks of both parts and return K; raise ``ValueError`` for a label that is no class, or if none is labelled."""
    largest = 0
    parts = (("train_masks", train_tokens, train_masks), ("test_masks", test_tokens, test_masks))
    for name, tokens, masks in parts:
        check_classes(name, masks)
        check_maps(name, masks, tokens, grid)
        known = masks[masks != ignore_index]
        if not len(known):
            raise ValueError(f"{name} must have a labelled pixel; all of them are ignore_index={ignore_index}")
        largest = max(largest, int(known.max()))
        check_range(name, known, num_classes or largest + 1, ignore_index)
    return num_classes or largest + 1


def held_out_images(images: Tensor, fraction: float, seed: int, instead: str) -> tuple[Tensor, Tensor]:
    """Return which images to fit and which to hold out; ``instead``: the argument that avoids the choice."""
    if len(images) < 2:
        raise ValueError(f"a held-out part needs two labelled training images or more; pass {instead}")
    fitted, held_out = hold_out(torch.zeros_like(images), fraction, seed, instead)  # as of one class: whole images
    return images[fitted], images[held_out]


def segment(
    tokens: Tensor, masks: Tensor, grid: Grid, num_classes: int, ignore_index: int, scores: Scores
) -> tuple[IoUResult, Tensor]:
    """Return IoU and predictions ``(M, H, W)`` by ``scores``, a function from tokens ``(m, L, D)`` to ``(m, L, K)``.

    The scores are upsampled to the size of the masks, a few images at a time.
    """
    size = masks.shape[1], masks.shape[2]
    dtype = torch.uint8 if num_classes <= 255 else torch.int16
    counter = IoUCounter(num_classes, ignore_index, tokens.device)
    predictions = torch.empty(masks.shape, dtype=dtype, device=tokens.device)
    for part in image_chunks(len(tokens), num_classes * size[0] * size[1]):
        maps = scores(tokens[part]).transpose(1, 2).unflatten(2, grid)
        predictions[part] = upsampled(maps, size).argmax(1).to(dtype)
        counter.update(predictions[part], masks[part])
    return counter.compute(), predictions
