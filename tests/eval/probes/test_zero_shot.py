"""Zero-shot classification, against CLIP's formula in numpy and torchmetrics' accuracy."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_accuracy

from ssl_eval import zero_shot

NAMES = [f"class {number}" for number in range(7)]


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    text = torch.randn(7, 3, 9, generator=generator)
    labels = torch.arange(80) % 7
    images = text.mean(1)[labels] + torch.randn(80, 9, generator=generator)
    return images, labels, text


def logits_of_clip(images, text, scale):
    """CLIP: the templates of a class are normalised, averaged and normalised again; scale times the cosine."""
    images, text = images.double().numpy(), text.double().numpy()
    text = text / np.linalg.norm(text, axis=-1, keepdims=True)
    means = text.mean(1)
    means = means / np.linalg.norm(means, axis=-1, keepdims=True)
    return scale * (images / np.linalg.norm(images, axis=-1, keepdims=True)) @ means.T


def test_scores_and_accuracies_equal_clips(data):
    images, labels, text = data
    found = zero_shot(images, labels, text)
    expected = logits_of_clip(images, text, 100)
    np.testing.assert_allclose(found.scores.numpy(), expected, atol=1e-4)
    for k, value in ((1, found.accuracy), (5, found.top5)):
        theirs = multiclass_accuracy(torch.as_tensor(expected), labels, num_classes=7, top_k=k, average="micro")
        assert value == pytest.approx(float(theirs), abs=1e-6)
    assert 0.3 < found.accuracy < found.top5 < 1
    one = zero_shot(images, labels, text[:, 0], temperature=0.5)
    np.testing.assert_allclose(one.scores.numpy(), logits_of_clip(images, text[:, :1], 2), atol=1e-5)


def test_texts_are_assigned_to_classes_by_name(data):
    images, labels, text = data
    order = torch.randperm(7, generator=torch.Generator().manual_seed(1))
    names = [NAMES[row] for row in order]
    found = zero_shot(images, labels, text[order], class_names=NAMES, text_names=names)
    assert torch.equal(found.scores, zero_shot(images, labels, text, class_names=NAMES).scores)


def test_few_classes_have_top5_of_one(data):
    images, labels, text = data
    assert zero_shot(images, labels % 3, text[:3]).top5 == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_names": NAMES[:6]}, "class_names must have 7 names, one for each row of text_features, got 6"),
        ({"class_names": [*NAMES[:6], NAMES[0]]}, "class_names: 'class 0' appears twice"),
        ({"text_names": NAMES}, "give class_names, too"),
        (
            {"class_names": NAMES, "text_names": ["Class-3" if name == "class 3" else name for name in NAMES]},
            r"text_names has no 'class 3', a class of the images \(1 are missing\); did you mean 'Class-3'",
        ),
        ({"temperature": 0.0}, "temperature=0.0: expected above 0"),
        ({"text_features": torch.ones(7, 2, 8)}, "the same width D, got 9 and 8"),
        ({"text_features": torch.ones(9)}, r"must be \(K, D\) or \(K, templates, D\), got shape \(9,\)"),
        ({"text_features": torch.full((7, 9), torch.nan)}, "text_features must be finite"),
        ({"text_features": torch.ones(5, 9)}, "labels must be below num_classes=5, got 6"),
        (
            {"text_features": torch.stack([torch.ones(7, 9), -torch.ones(7, 9)], 1)},
            "the templates of class 0 cancel out; their mean is zero",
        ),
    ],
)
def test_invalid_arguments_raise(data, change, message):
    arguments = dict(zip(("image_features", "labels", "text_features"), data)) | change
    with pytest.raises(ValueError, match=message):
        zero_shot(**arguments)
