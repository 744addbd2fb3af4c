"""Test sets with a part of the training classes: names, numbers and the authors' accuracy."""

import pytest
import torch
from torchmetrics.functional.classification import multiclass_accuracy

from ssl_eval import accuracy, matched_classes, subset_scores


def test_classes_are_matched_by_name():
    trained = ["n01440764", "n01443537", "n01484850", "n01491361"]
    assert matched_classes(["n01443537", "n01491361"], trained) == [1, 3]
    assert matched_classes(["n01443537", "n09999999", "n01491361"], trained) == [1, -1, 3]


def test_numeric_folders_are_numbers_of_classes():
    """As those of ImageNet-V2, which a listing sorts as text."""
    trained = [f"n{k:08d}" for k in range(1000)]
    folders = sorted(map(str, range(1000)))
    assert folders[:3] == ["0", "1", "10"]
    assert matched_classes(folders, trained) == list(map(int, folders))
    assert matched_classes(["1", "0"], ["0", "1", "2"]) == [1, 0]  # these are names


@pytest.mark.parametrize(
    ("folders", "trained"), [(["0", "12"], ["a", "b"]), (["a", "x"], ["a", "b"]), ([], ["a", "b"])]
)
def test_other_classes_are_an_error(folders, trained):
    with pytest.raises(ValueError, match="expected at least two of the 2 training classes"):
        matched_classes(folders, trained)


def test_accuracy_is_that_of_the_indexed_logits():
    """Oracle: ``logits[:, indices_in_1k]`` of the authors' ``eval.py``, counted by torchmetrics."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 10, generator=generator)
    subset = torch.tensor([7, 2, 5])
    places = torch.randint(3, (200,), generator=generator)
    expected = multiclass_accuracy(logits[:, subset], places, num_classes=3, average="micro")
    (found,) = accuracy(subset_scores(logits, subset), subset[places], topk=(1,))
    assert found == pytest.approx(float(expected))
    assert found != pytest.approx(accuracy(logits, subset[places], topk=(1,))[0])
