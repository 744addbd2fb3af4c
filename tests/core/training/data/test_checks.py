"""Data of one's own: a mistake in what a loader gives is one sentence, not a traceback of the trainer."""

from types import SimpleNamespace

import pytest
import torch

from ssl_core import ConfigError
from ssl_core.run.folder import RunFolder
from ssl_core.training.data.checks import check_loaders, checked_batches, training_batches

VIEW, LABELS, IDS = torch.zeros(8, 3, 4, 4), torch.arange(8) % 4, torch.arange(8)
BATCHES = {
    "no ids": (([VIEW], LABELS), "a tuple of 2 as a batch: expected"),
    "no batch": (VIEW, "a Tensor as a batch: expected"),
    "no views": (([], LABELS, IDS), "a list as the views of a batch: expected"),
    "numpy": (([VIEW.numpy()], LABELS, IDS), r"a float32 array \(8, 3, 4, 4\) as a view: expected"),
    "bytes": (([VIEW.byte()], LABELS, IDS), r"a uint8 tensor \(8, 3, 4, 4\) as a view: expected"),
    "labels of floating point": (
        ([VIEW], LABELS.float(), IDS),
        r"a float32 tensor \(8,\) as the labels of 8 images: expected",
    ),
    "too few labels": (([VIEW], LABELS[:7], IDS), r"a int64 tensor \(7,\) as the labels of 8 images: expected"),
    "ids of numpy": (([VIEW], LABELS, IDS.numpy()), r"a int64 array \(8,\) as the ids of 8 images: expected"),
    "a class too many": (([VIEW], LABELS + 1, IDS), "labels from 1 to 4: expected 0 to 3, or -1 for none"),
    "two views to evaluate": (([VIEW, VIEW], LABELS, IDS), "2 views of an image: expected one, as it is evaluated"),
}


@pytest.mark.parametrize(("batch", "sentence"), BATCHES.values(), ids=BATCHES)
def test_invalid_batch_raises(batch, sentence):
    with pytest.raises(ConfigError, match=rf"^data: the toy loader gives {sentence}"):
        next(checked_batches([batch], "toy", 4, single_view=True))


def test_a_batch_that_is_one_passes():
    without_labels = ([VIEW, VIEW], torch.full((8,), -1), IDS)
    assert next(checked_batches([without_labels], "toy", 4)) is without_labels
    assert next(checked_batches([(VIEW, LABELS, IDS)], "toy", 4, single_view=True))[0] is VIEW
    assert list(checked_batches([], "toy", 4)) == []


def test_loader_that_ends_early_raises():
    batches = training_batches([([VIEW], LABELS, IDS)], 4)
    next(batches)
    with pytest.raises(ConfigError, match="ended before its epoch: its length is 1 batches"):
        next(batches)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda found: None, "returned a NoneType without 'train'"),
        (lambda found: delattr(found, "image_shape"), "returned a SimpleNamespace without 'image_shape'"),
        (lambda found: setattr(found, "train", []), r"the training loader has no start\(\)"),
        (lambda found: setattr(found, "evaluation", [1]), "evaluation is a list: expected a dict"),
        (lambda found: setattr(found, "evaluation", {"train": 1}), "an evaluation set is called 'train'"),
    ],
)
def test_invalid_loaders_raise(toy_data, change, sentence):
    given = SimpleNamespace(**vars(toy_data().open(16, 0)))
    check_loaders(given)
    assert change(given) is None
    with pytest.raises(ConfigError, match=sentence):
        check_loaders(None if "NoneType" in sentence else given)


def test_a_run_ends_with_the_sentence_as_failed(make_config, tiny_model, toy_data):
    class Judged(toy_data):
        def open(self, *arguments):
            loaders = super().open(*arguments)
            loaders.evaluation["toy"] = loaders.train
            return loaders

    config = make_config()
    config.data = Judged()
    with pytest.raises(ConfigError, match="the toy loader gives 2 views of an image"):
        tiny_model(config).fit()
    assert RunFolder.of(config).read_summary()["status"] == "failed"
