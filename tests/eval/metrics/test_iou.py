"""Mean IoU, against torchmetrics."""

import pytest
import torch

from ssl_eval import IoUCounter, mean_iou

torchmetrics = pytest.importorskip("torchmetrics")


def maps_of(num_classes, seed=0, classes=None):
    """Masks with a border of 255, and predictions that are right in about half of the pixels; some classes may be absent."""
    generator = torch.Generator().manual_seed(seed)
    classes = classes or num_classes
    masks = torch.randint(classes, (4, 9, 7), generator=generator)
    guesses = torch.randint(classes, masks.shape, generator=generator)
    predictions = torch.where(torch.rand(masks.shape, generator=generator) < 0.5, masks, guesses)
    masks[:, 0] = 255
    return predictions, masks


@pytest.mark.parametrize(("num_classes", "classes"), [(5, None), (21, 8)])
def test_mean_iou_equals_torchmetrics(num_classes, classes):
    """Oracle: torchmetrics' JaccardIndex, macro, without classes that are in neither map."""
    predictions, masks = maps_of(num_classes, classes=classes)
    options = {"num_classes": num_classes, "ignore_index": 255}
    expected = torchmetrics.functional.classification.multiclass_jaccard_index(predictions, masks, **options)
    assert mean_iou(predictions, masks, num_classes) == pytest.approx(float(expected), abs=1e-6)
    counter = IoUCounter(num_classes)
    for part in range(4):
        counter.update(predictions[part], masks[part].to(torch.uint8))
    found = counter.compute()
    each = torchmetrics.functional.classification.multiclass_jaccard_index(
        predictions, masks, average="none", **options
    )
    torch.testing.assert_close(found.per_class.nan_to_num().float(), each)
    assert found.per_class.isnan().sum() == num_classes - (classes or num_classes)
    accuracy = torchmetrics.functional.classification.multiclass_accuracy(
        predictions, masks, average="micro", **options
    )
    assert found.pixel_accuracy == pytest.approx(float(accuracy), abs=1e-6)
    assert found.mean_iou == pytest.approx(float(expected), abs=1e-6)


def test_class_that_is_only_predicted_counts_as_zero():
    assert mean_iou(torch.tensor([0, 2]), torch.tensor([0, 0])) == pytest.approx((0.5 + 0) / 2)
    assert mean_iou(torch.tensor([0, 2]), torch.tensor([0, 255])) == 1.0


@pytest.mark.parametrize(
    ("predictions", "masks", "options", "message"),
    [
        ([[0, 1]], [[0, 1, 1]], {}, r"one shape, got \(1, 2\) and \(1, 3\)"),
        ([0.0, 1.0], [0, 1], {}, "predictions must be integers"),
        ([0, 1], [0, 3], {"num_classes": 3}, r"masks must be classes in 0..2, or ignore_index=255 in a mask; got 3"),
        ([0, 5], [0, 1], {"num_classes": 3}, r"predictions must be classes in 0..2.*got 5"),
        ([0, -1], [0, 1], {"num_classes": 3}, "got -1"),
        ([0, 1], [255, 255], {}, "at least one labelled pixel"),
        ([0, 1], [0, 1], {"num_classes": 2, "ignore_index": 1}, "ignore_index=1: expected 1 or more, and no number"),
    ],
)
def test_invalid_maps_are_one_line(predictions, masks, options, message):
    with pytest.raises(ValueError, match=message):
        mean_iou(torch.tensor(predictions), torch.tensor(masks), **options)
