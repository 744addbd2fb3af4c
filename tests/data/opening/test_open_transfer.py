"""Data sets of a transfer table: generated files in the layouts of torchvision, PASCAL VOC and class folders."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from ssl_core.config.transfer import DATASETS, METRICS
from ssl_data.opening.open_transfer import open_transfer
from ssl_data.sources.files.voc import CLASSES, VOCSource
from ssl_data.transfer_names import CUSTOMARY

VIEW = {"image_shape": (3, 32, 32), "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.2, 0.3), "batch_size": 4}
XML = "<annotation>{}</annotation>"
OBJECT = "<object><name>{}</name><difficult>{}</difficult></object>"


def picture(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((40, 50, 3), value, np.uint8)).save(path)


def values(loader):
    """Return the grey value of each image, in the order of the ids, and the labels."""
    rows = {int(i): (v, int(label)) for (view,), labels, ids in loader for v, label, i in zip(view, labels, ids)}
    mean, std = (torch.tensor(VIEW[key])[:, None, None] for key in ("mean", "std"))
    grey = [round(255 * float((rows[i][0] * std + mean)[:, 9, 9].mean())) for i in sorted(rows)]
    return grey, [rows[i][1] for i in sorted(rows)]


def folders(root, classes=("a", "b"), test="test", test_classes=None):
    for part, names in (("train", classes), (test, test_classes or classes)):
        for place, name in enumerate(names):
            for k in range(3):
                picture(root / part / name / f"{k}.png", 10 * k + 100 * place)
    return root


def voc(root):
    folder = root / "VOCdevkit" / "VOC2007"
    for kind in ("ImageSets/Main", "Annotations"):
        (folder / kind).mkdir(parents=True)
    lists = {
        "trainval": {"000001": [("dog", 0), ("dog", 1), ("cat", 1)], "000003": []},
        "test": {"000002": [("person", 0)]},
    }
    for part, annotations in lists.items():
        (folder / "ImageSets" / "Main" / f"{part}.txt").write_text("\n".join(annotations) + "\n")
        for name, objects in annotations.items():
            (folder / "Annotations" / f"{name}.xml").write_text(
                XML.format("".join(OBJECT.format(*each) for each in objects))
            )
            picture(folder / "JPEGImages" / f"{name}.jpg", int(name) * 20)
    return folder


def dtd(root):
    """The files of ``torchvision.datasets.DTD``."""
    base = root / "dtd" / "dtd"
    (base / "labels").mkdir(parents=True)
    for number, part in enumerate(("train1", "val1", "test1")):
        names = [f"{kind}/{kind}_{number}.jpg" for kind in ("dotted", "banded")]
        (base / "labels" / f"{part}.txt").write_text("\n".join(names) + "\n")
        for place, name in enumerate(names):
            picture(base / "images" / name, 20 + 40 * number + 100 * place)


@pytest.mark.parametrize("test", ["test", "val"])
def test_folder_is_shown_under_the_view_of_the_run(tmp_path, test):
    opened = open_transfer(str(folders(tmp_path / "birds", test=test)), "", **VIEW)
    assert values(opened.train) == ([0, 10, 20, 100, 110, 120], [0, 0, 0, 1, 1, 1])
    assert values(opened.test)[1] == [0, 0, 0, 1, 1, 1]
    assert (opened.metric, opened.targets) == ("accuracy", None)


def test_named_data_set_may_be_class_folders(tmp_path):
    folders(tmp_path / "flowers102")
    opened = open_transfer("Flowers102", str(tmp_path), **VIEW)
    assert (len(opened.train.labels), opened.metric) == (6, "mean_per_class")
    assert open_transfer("Flowers102", str(tmp_path), **VIEW, metric="accuracy").metric == "accuracy"


def test_training_and_validation_parts_of_torchvision_are_joined(tmp_path):
    """Oracle: torchvision's own data set of each part."""
    dtd(tmp_path)
    opened = open_transfer("DTD", str(tmp_path), **VIEW)
    parts = {part: datasets.DTD(str(tmp_path), split=part) for part in ("train", "val", "test")}
    for loader, names in ((opened.train, ("train", "val")), (opened.test, ("test",))):
        samples = [sample for name in names for sample in parts[name]]
        grey, labels = values(loader)
        assert labels == [label for _, label in samples]
        assert np.abs(np.array(grey) - [np.mean(np.asarray(image)) for image, _ in samples]).max() <= 2  # JPEG
    assert opened.fingerprint()["train"] != opened.fingerprint()["test"]


def test_voc_has_several_labels_and_difficult_objects(tmp_path):
    folder = voc(tmp_path)
    opened = open_transfer("VOC2007", str(tmp_path), **VIEW)
    train, test = opened.targets
    dog, cat, person = map(CLASSES.index, ("dog", "cat", "person"))
    expected = np.zeros((2, 20), int)
    expected[0, [dog, cat]] = 1, -1
    np.testing.assert_array_equal(train, expected)
    assert np.flatnonzero(test[0]).tolist() == [person]
    grey, labels = values(opened.train)
    assert (opened.metric, labels) == ("voc_map", [-1, -1])
    assert np.abs(np.array(grey) - [20, 60]).max() <= 2
    (folder / "Annotations" / "000003.xml").write_text(XML.format(OBJECT.format("dragon", 0)))
    with pytest.raises(ValueError, match=r"000003.xml': expected objects of the 20 classes"):
        VOCSource(folder, "trainval")


def test_grey_images_are_repeated_for_a_run_in_colour():
    colour = open_transfer("digits", "", **VIEW)
    assert next(iter(colour.train))[0][0].shape == (4, 3, 32, 32)
    grey = open_transfer("digits", "", **VIEW | {"image_shape": (1, 32, 32), "mean": (0.0,), "std": (1.0,)})
    assert next(iter(grey.test))[0][0].shape == (4, 1, 32, 32)


def test_caltech_is_split_by_its_seed(tmp_path):
    """30 images of each class to train with, the others to test; the background is a class, as in Kornblith et al. 2019."""
    for place, name in enumerate(("BACKGROUND_Google", "accordion", "wrench")):
        for k in range(33):
            picture(
                tmp_path / "caltech101" / "101_ObjectCategories" / name / f"image_{k + 1:04d}.jpg", 3 * k + 50 * place
            )
    opened = open_transfer("Caltech101", str(tmp_path), **VIEW, seed=1)
    assert np.bincount(opened.train.labels).tolist() == [30, 30, 30]
    assert np.bincount(opened.test.labels).tolist() == [3, 3, 3]
    assert sorted([*opened.train.source.ids, *opened.test.source.ids]) == list(range(99))
    again, other = (open_transfer("Caltech101", str(tmp_path), **VIEW, seed=seed) for seed in (1, 2))
    assert again.test.source.ids.tolist() == opened.test.source.ids.tolist() != other.test.source.ids.tolist()


def test_missing_data_sets_are_file_not_found_errors(tmp_path):
    for name in [*DATASETS, "SUN397", "Birdsnap", "STL10", "SVHN", "MNIST", str(tmp_path / "none")]:
        with pytest.raises(FileNotFoundError) as caught:
            open_transfer(name, str(tmp_path / "empty"), **VIEW)
        assert "download=True" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_data_that_does_not_fit_is_an_error(tmp_path):
    differing = folders(tmp_path / "x", test_classes=("a", "c"))
    for arguments, message in (
        ({"name": str(differing)}, "classes that only one of train and test has: b, c"),
        ({"name": "digits", "metric": "voc_map"}, "metric='voc_map': the images of digits have one label"),
        (
            {"name": str(folders(tmp_path / "y")), "image_shape": (1, 8, 8)},
            "its images have 3 bands, and those of the run 1",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            open_transfer(**{"root": "", **VIEW, **arguments})


def test_customary_metrics_are_known_metrics():
    assert set(CUSTOMARY.values()) == set(METRICS)
    assert set(DATASETS) <= set(CUSTOMARY)
