"""Data sets of others: of torchvision, in the shape of Hugging Face's, lists."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_data import IndexedSource, Loader, TorchvisionSource, views


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "png")
    return file.getvalue()


class HuggingFace:
    """What ``datasets.Dataset`` shows: mappings by position, columns by name, names in the features. It counts reads."""

    class ClassLabel:
        names = ("cat", "dog", "frog")

    column_names = ("img", "fine_label")

    def __init__(self, images, labels):
        self.images, self.labels, self.reads = images, labels, 0
        self.features = {"img": object(), "fine_label": self.ClassLabel()}

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, key):
        if isinstance(key, str):
            return iter(self.labels)
        self.reads += 1
        return {"img": self.images[key], "fine_label": self.labels[key]}


@pytest.fixture
def hugging_face(noise):
    return HuggingFace([Image.fromarray(image) for image in noise[:6]], [0, 1, 2, 2, 1, 0])


def test_mappings_with_columns_as_hugging_face_has_them(hugging_face, noise):
    source = IndexedSource(hugging_face, memory=0)
    assert hugging_face.reads <= 2  # the labels came from their column, no image was decoded for them
    assert source.labels.tolist() == [0, 1, 2, 2, 1, 0]
    assert source.class_names == ["cat", "dog", "frog"]
    assert source.images is None
    assert all(np.array_equal(source.image(position), noise[position]) for position in range(6))
    assert np.array_equal(IndexedSource(hugging_face).images, noise[:6])


def test_undecoded_images_of_hugging_face(noise, tmp_path):
    (tmp_path / "1.png").write_bytes(png(noise[1]))
    stored = [{"bytes": png(noise[0]), "path": None}, {"bytes": None, "path": str(tmp_path / "1.png")}]
    assert np.array_equal(IndexedSource(HuggingFace(stored, [0, 1])).images, noise[:2])


def test_data_sets_of_the_library_datasets_itself(noise):
    """Oracle: Hugging Face's own class, where it is installed."""
    datasets = pytest.importorskip("datasets", reason="200 MB that only this test would need")
    pyarrow = pytest.importorskip("pyarrow")
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    columns = {"img": [{"bytes": png(image), "path": None} for image in noise[:3]], "label": [1, 0, 1]}
    table = pyarrow.table(columns).cast(features.arrow_schema)
    dataset = datasets.Dataset(table, info=datasets.DatasetInfo(features=features), fingerprint="of this test")
    source = IndexedSource(dataset)
    assert np.array_equal(source.images, noise[:3])
    assert source.labels.tolist() == [1, 0, 1]
    assert source.class_names == ["cat", "dog"]


def test_pairs_bare_images_names_and_missing_labels(noise):
    assert IndexedSource([(image, 3) for image in noise]).labels.tolist() == [3] * len(noise)
    bare = IndexedSource(list(noise))
    assert bare.labels.tolist() == [-1] * len(noise)
    assert bare.class_names == []
    named = IndexedSource([{"picture": image, "label": name} for image, name in zip(noise, ("dog", "cat", "dog"))])
    assert named.class_names == ["cat", "dog"]
    assert named.labels.tolist() == [1, 0, 1]
    unnamed = IndexedSource([(noise[0], None), (noise[1], "dog"), (noise[2], "cat")])
    assert unnamed.class_names == ["cat", "dog"]
    assert unnamed.labels.tolist() == [-1, 1, 0]
    assert IndexedSource([(noise[0], None), (noise[1], 2)]).labels.tolist() == [-1, 2]
    chosen = IndexedSource([{"left": noise[0], "right": noise[1], "kind": 1}], image="right", label="kind")
    assert np.array_equal(chosen.image(0), noise[1])
    assert chosen.labels.tolist() == [1]


def test_grey_images_among_coloured_ones_are_repeated(noise):
    grey = Image.fromarray(noise[1]).convert("L")
    source = IndexedSource([noise[0], grey])
    assert np.array_equal(source.image(1), np.asarray(grey.convert("RGB")))
    assert IndexedSource([grey]).image(0).shape == (40, 32, 1)
    assert IndexedSource([grey], channels=3).image(0).shape == (40, 32, 3)
    with pytest.raises(ValueError, match=r"sample 1, dataset\[1\], cannot be read: it has three channels.*channels=3"):
        IndexedSource([grey, noise[0]])


def test_samples_that_cannot_be_read_are_named_or_replaced(noise):
    class Broken(list):
        bad = (1,)

        def __getitem__(self, position):
            if position in self.bad:
                raise OSError("image file is truncated")
            return super().__getitem__(position)

    class Labelled(Broken):
        column_names = ("label",)

        def __getitem__(self, position):
            return (
                [0, 1, 0, 1] if position == "label" else {"image": super().__getitem__(position), "label": position % 2}
            )

    with pytest.raises(ValueError, match=r"data set Labelled: sample 1, dataset\[1\], cannot be read.*on_error=skip"):
        IndexedSource(Labelled(noise[:4]))
    source = IndexedSource(Labelled(noise[:4]), on_error="skip")
    assert np.array_equal(source.image(1), noise[3])
    assert source.skipped == {1}
    with pytest.raises(
        ValueError, match=r"sample 1, dataset\[1\], cannot be read, and its label is stored with its image"
    ):
        IndexedSource(Broken((image, 0) for image in noise))


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        (iter([1]), {}, "with __len__ and __getitem__"),
        ([], {}, "at least one"),
        ([{"x": 1, "y": 2}], {}, "several keys may be the image: 'x', 'y'"),
        ([{"image": 1}], {"image": "img"}, "a sample has no 'img', it has 'image'"),
        ([(torch.zeros(3, 8, 8), 0)], {}, r"expected a PIL image or \(H, W, C\) uint8.*without transforms"),
        ([(np.zeros((8, 8, 3), np.uint8), [0.5, 1])], {}, "expected one integer or name a label"),
        ([(np.zeros((8, 8, 3), np.uint8), 0.5)], {}, "sample 0 has the label 0.5: expected an integer"),
        (
            [(np.zeros((8, 8, 3), np.uint8), label) for label in (None, 7, "cat")],
            {},
            "sample 2 has the label 'cat' and sample 1 7: expected integers, or names",
        ),
    ],
)
def test_invalid_image_or_label_raises(dataset, options, message):
    with pytest.raises(ValueError, match=message):
        IndexedSource(dataset, **options)


def test_loader_takes_it_like_any_source(hugging_face, noise):
    from ssl_data import ArraySource

    options = {"views": views("simclr", size=32), "batch_size": 3, "num_workers": 2}
    streamed = Loader(IndexedSource(hugging_face, memory=0), **options)
    for ours, theirs in zip(streamed, Loader(ArraySource(noise[:6], hugging_face.labels), **options), strict=True):
        assert all(torch.equal(a, b) for a, b in zip((*ours[0], *ours[1:]), (*theirs[0], *theirs[1:])))


def test_torchvision_data_is_used_as_it_is():
    """Oracle: torchvision's FakeData, one image at a time."""
    from torchvision.datasets import FakeData

    dataset = FakeData(size=5, image_size=(3, 8, 8), num_classes=3)
    source = TorchvisionSource(dataset)
    assert len(source) == 5
    for position in range(5):
        image, label = dataset[position]
        assert np.array_equal(source.image(position), np.asarray(image))
        assert source.labels[position] == int(label)


def test_torchvision_colours_as_grey_raise(noise):
    class Coloured:
        data, targets, transforms = noise, [0] * len(noise), None

        def __len__(self):
            return len(noise)

        def __getitem__(self, index):
            return Image.fromarray(noise[index]), 0

    with pytest.raises(ValueError, match=r"sample 0, .* it has three channels, and the first image has one"):
        TorchvisionSource(Coloured(), channels=1)
    assert TorchvisionSource(Coloured(), channels=3).images.shape == noise.shape


def test_transforms_of_torchvision_are_not_passed_over(tmp_path, noise):
    """Oracle: torchvision's own ImageFolder with a transform that gives an image."""
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import CenterCrop

    (tmp_path / "a").mkdir()
    for number in range(3):
        Image.fromarray(noise[number]).save(tmp_path / "a" / f"{number}.png")
    dataset = ImageFolder(tmp_path, transform=CenterCrop(16))
    source = TorchvisionSource(dataset)
    assert source.images is None
    assert np.array_equal(source.image(2), np.asarray(dataset[2][0]))
    assert source.class_names == ["a"]
    (tmp_path / "a" / "1.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"sample 1, '.*/a/1.png', cannot be read"):
        TorchvisionSource(ImageFolder(tmp_path))


def test_arrays_of_torchvision_in_channels_first_are_turned():
    class STL10:
        data = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
        labels = np.array([1, 0])

        def __len__(self):
            return 2

        def __getitem__(self, position):
            return Image.fromarray(self.data[position].transpose(1, 2, 0)), self.labels[position]

    source = TorchvisionSource(STL10())
    assert source.images.shape == (2, 4, 4, 3)
    assert np.array_equal(source.image(1), STL10.data[1].transpose(1, 2, 0))
