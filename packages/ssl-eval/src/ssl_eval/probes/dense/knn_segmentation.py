"""kNN segmentation: the classes of the nearest patches of training images."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_eval.metrics.iou import IGNORED, IoUResult
from ssl_eval.probes.dense.patches import Grid, check_tokens, class_counts, token_standardization
from ssl_eval.probes.dense.segmentation import SegmentationResult, check_masks, held_out_images, segment
from ssl_eval.probes.knn_search import nearest
from ssl_eval.validation import computed_in

KS = (1, 3, 10, 30)


@dataclass(frozen=True, eq=False, repr=False)
class KNNSegmentationResult(SegmentationResult):
    """Result of :func:`knn_segmentation`.

    Attributes
    ----------
    k : int
        The number of neighbours used.
    validation_ious : dict
        k -> mean IoU on the held-out training images; empty where there was nothing to choose.
    """

    k: int
    validation_ious: dict[int, float]


@torch.no_grad()
def knn_segmentation(
    train_tokens: Tensor,
    train_masks: Tensor,
    test_tokens: Tensor,
    test_masks: Tensor,
    grid: Grid | None = None,
    num_classes: int | None = None,
    ignore_index: int = IGNORED,
    ks: Sequence[int] = KS,
    references: int = 20_000,
    validation_fraction: float = 0.2,
    seed: int = 0,
) -> KNNSegmentationResult:
    """Segment images by the k nearest patches of training images, without training.

    The kNN segmentation of CAPI: tokens standardised with mean and deviation of the training tokens, compared by cosine. A
    neighbour votes with the shares of the classes among its labelled pixels, and all neighbours count the same. The votes are
    upsampled bilinearly to the size of the mask. The best k by mean IoU on held-out training images is used. Unlike CAPI, which
    compares with all training patches and repeats the class of a pixel at its place in the patch, the references are a random
    sample.

    Parameters
    ----------
    train_tokens, train_masks, test_tokens, test_masks, grid, num_classes, ignore_index
        As in :func:`segmentation_probe`.
    ks : sequence of int
        Numbers of neighbours to choose from. A single one is used without a choice.
    references : int
        Number of training patches with a labelled pixel to compare with; all, if there are fewer.
    validation_fraction : float
        Share of the training images that is held out to choose k, in (0, 1).
    seed : int
        Random seed of the references and of the held-out images.

    Returns
    -------
    KNNSegmentationResult

    Raises
    ------
    ValueError
        If tokens hold NaN, shapes disagree, a label is out of range, no pixel has a label, or an option is out of range.

    References
    ----------
    Darcet et al.: Cluster and Predict Latent Patches (CAPI), 2025, https://arxiv.org/abs/2502.08769.

    Examples
    --------
    >>> masks = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 1]]] * 2)
    >>> tokens = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]] * 2)
    >>> knn_segmentation(tokens, masks, tokens, masks, grid=(1, 2), ks=[1]).mean_iou
    1.0
    """
    grid = check_tokens(train_tokens, test_tokens, grid)
    num_classes = check_masks(train_tokens, train_masks, test_tokens, test_masks, grid, num_classes, ignore_index)
    if not ks or min(ks) < 1 or references < 1 or not 0 < validation_fraction < 1:
        raise ValueError(
            f"ks={tuple(ks)}, references={references}, validation_fraction={validation_fraction}: expected 1 or more, "
            "1 or more, within (0, 1)"
        )
    counts = class_counts(train_masks.to(train_tokens.device), grid, num_classes, ignore_index)
    labelled = counts.sum(2) > 0
    images = labelled.any(1).nonzero()[:, 0]
    dtype = computed_in(train_tokens.flatten(0, 1), test_tokens.flatten(0, 1))
    mean, scale = (each.to(dtype) for each in token_standardization(train_tokens))

    def bank(of: Tensor) -> tuple[Tensor, Tensor]:
        """Return the standardised tokens and the shares of the classes of the references among these images."""
        rows = labelled[of].flatten().nonzero()[:, 0]
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:references]
        rows = rows[order.sort().values.to(rows.device)]
        shares = counts[of].flatten(0, 1)[rows].to(dtype)
        return (train_tokens[of].flatten(0, 1)[rows].to(dtype) - mean) / scale, shares / shares.sum(1, keepdim=True)

    def evaluate(references: tuple[Tensor, Tensor], tokens: Tensor, masks: Tensor, k: int) -> tuple[IoUResult, Tensor]:
        def votes(part: Tensor) -> Tensor:
            queries = (part.flatten(0, 1).to(dtype) - mean) / scale
            neighbours = nearest(references[0], queries, k, "cosine")[1]
            found = sum(references[1][neighbours[:, place]] for place in range(k))
            return torch.as_tensor(found).div(k).unflatten(0, part.shape[:2])

        return segment(tokens, masks, grid, num_classes, ignore_index, votes)

    validation: dict[int, float] = {}
    if len(ks) > 1:
        fitted, held_out = held_out_images(images, validation_fraction, seed, "ks=[30]")
        known, masks = bank(fitted), train_masks[held_out.to(train_masks.device)]
        for k in sorted({min(each, len(known[0])) for each in ks}):
            validation[k] = evaluate(known, train_tokens[held_out], masks, k)[0].mean_iou
    known = bank(images)
    # of equal ones the smallest
    k = max(validation, key=lambda each: (validation[each], -each)) if validation else min(ks[0], len(known[0]))
    iou, predictions = evaluate(known, test_tokens, test_masks, k)
    return KNNSegmentationResult(iou.mean_iou, iou.pixel_accuracy, iou.per_class, predictions, k, validation)
