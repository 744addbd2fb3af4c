"""Data sets by name. Oracle: torchvision's own classes, on miniature files in their formats."""

import pickle

import numpy as np
import pytest
import scipy.io
from PIL import Image

from ssl_data import DataConfig
from ssl_data.sources.derived.label_noise import symmetric_label_noise
from ssl_data.sources.derived.subset import subset_indices

RNG = np.random.default_rng(3)


def images(count, size=32, channels=(3,)):
    return RNG.integers(0, 256, (count, size, size, *channels), dtype=np.uint8)


def loaders(name, root, **options):
    return DataConfig(dataset=name, root=str(root), download=False, views="evaluation", **options).open(4, seed=0)


def same(source, expected, labels):
    assert np.array_equal(source.images, expected)
    assert source.labels.tolist() == list(labels)


def believed(monkeypatch, module):
    """Let torchvision take miniature files for its own."""
    monkeypatch.setattr(f"torchvision.datasets.{module}.check_integrity", lambda *_: True)


@pytest.mark.parametrize(("name", "key", "names"), [("CIFAR10", "labels", 10), ("CIFAR100", "fine_labels", 100)])
def test_cifar(tmp_path, monkeypatch, name, key, names):
    believed(monkeypatch, "cifar")
    folder = tmp_path / {"CIFAR10": "cifar-10-batches-py", "CIFAR100": "cifar-100-python"}[name]
    folder.mkdir()
    train, test = images(10), images(4)

    def write(file, batch, labels):
        rows = batch.transpose(0, 3, 1, 2).reshape(len(batch), -1)
        (folder / file).write_bytes(pickle.dumps({"data": rows, key: labels}))

    if name == "CIFAR10":
        for number in range(5):
            write(f"data_batch_{number + 1}", train[2 * number : 2 * number + 2], [2 * number, 2 * number + 1])
        write("test_batch", test, [0, 1, 2, 3])
    else:
        write("train", train, list(range(10)))
        write("test", test, [0, 1, 2, 3])
    meta = {"label_names" if name == "CIFAR10" else "fine_label_names": [f"class {number}" for number in range(names)]}
    (folder / ("batches.meta" if name == "CIFAR10" else "meta")).write_bytes(pickle.dumps(meta))
    opened = loaders(name, tmp_path)
    same(opened.train.source, train, range(10))
    same(opened.evaluation[name.lower()].source, test, range(4))
    assert opened.num_classes == names
    assert opened.class_names[3] == "class 3"


def test_pickle_that_is_not_torchvisions_own_is_never_loaded(tmp_path):
    """CIFAR's files are pickles, which can name any function to call: their checksums are compared before."""

    class Attack:
        def __reduce__(self):
            return open, (str(tmp_path / "it ran"), "w")

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"]:
        (folder / name).write_bytes(pickle.dumps(Attack()))
    with pytest.raises(FileNotFoundError, match="CIFAR10 is not there"):
        loaders("CIFAR10", tmp_path)
    assert not (tmp_path / "it ran").exists()


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "KMNIST", "EMNIST"])
def test_mnist_family(tmp_path, name):
    folder = tmp_path / name / "raw"
    folder.mkdir(parents=True)
    train, test = images(8, 28, ()), images(5, 28, ())
    for part, batch in (("train", train), ("t10k", test)):
        stem = part if name != "EMNIST" else f"emnist-letters-{'train' if part == 'train' else 'test'}"
        header = np.array([0x803, *batch.shape], ">i4").tobytes()
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(header + batch.tobytes())
        labels = np.arange(len(batch), dtype=np.uint8)
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(
            np.array([0x801, len(batch)], ">i4").tobytes() + labels.tobytes()
        )
    opened = loaders(name, tmp_path, split="letters" if name == "EMNIST" else "")
    same(opened.train.source, train[..., None], range(8))
    same(opened.evaluation[name.lower()].source, test[..., None], range(5))
    assert opened.image_shape == (1, 28, 28)
    assert opened.num_classes == (27 if name == "EMNIST" else 10)


@pytest.fixture
def stl10(tmp_path, monkeypatch):
    believed(monkeypatch, "stl10")
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    parts = {"train": images(6, 96), "test": images(4, 96), "unlabeled": images(8, 96)}
    for part, batch in parts.items():
        (folder / f"{part}_X.bin").write_bytes(batch.transpose(0, 3, 2, 1).tobytes())  # column by column
        (folder / f"{part}_y.bin").write_bytes((np.arange(len(batch)) % 10 + 1).astype(np.uint8).tobytes())
    (folder / "class_names.txt").write_text("\n".join(f"class {number}" for number in range(10)))
    return tmp_path, parts


def test_stl10(stl10):
    root, parts = stl10
    opened = loaders("STL10", root)
    same(opened.train.source, parts["train"], range(6))
    assert opened.reference.source is opened.train.source
    same(opened.evaluation["stl10"].source, parts["test"], range(4))


@pytest.mark.parametrize("split", ["unlabeled", "train+unlabeled"])
def test_unlabelled_stl10_has_a_labelled_reference(stl10, split):
    root, parts = stl10
    opened = loaders("STL10", root, split=split)
    expected = parts["unlabeled"] if split == "unlabeled" else np.concatenate([parts["train"], parts["unlabeled"]])
    same(opened.train.source, expected, ([*range(6)] if "+" in split else []) + [-1] * 8)
    same(opened.reference.source, parts["train"], range(6))
    assert opened.num_classes == 10
    with pytest.raises(ValueError, match=r"data.label_noise=0.1: the training images have no labels"):
        loaders("STL10", root, split=split, label_noise=0.1)
    with pytest.raises(ValueError, match=r"data.split='extra': expected 'train' or 'unlabeled' or 'train\+unlabeled'"):
        loaders("STL10", root, split="extra")


@pytest.mark.parametrize("split", ["", "unlabeled"])
def test_labelled_part_is_that_of_the_labelled_images(stl10, split):
    """As many of each class as were chosen for training on that share; crops and flips, but no others where flips are wrong."""
    root, parts = stl10
    config = DataConfig(dataset="STL10", root=str(root), download=False, split=split, per_class=1 if not split else 0)
    part, count = config.labelled_part(0.01, seed=5)
    assert (part.split, part.views, part.per_class, count) == ("", "supervised", 0, 6)
    opened = part.open(count, seed=5)
    assert len(opened.train) == 1
    same(opened.train.source, parts["train"], range(6))
    assert DataConfig(views="digits").labelled_part(0.1, 0)[0].views == "digits"
    assert DataConfig(views=[{"flip": 0.0}]).labelled_part(0.1, 0)[0].views == [{"flip": 0.0}]
    assert DataConfig(views="digits").labelled_part(0.1, 0, "simclr")[0].views == "simclr"
    digits, count = DataConfig(views="digits").labelled_part(0.1, seed=2)
    part = digits.open(8, seed=2)
    assert len(part.train.source) == count == 141  # a tenth of each class, rounded
    assert (part.mean, part.std) == (DataConfig().open(8, seed=2).mean, DataConfig().open(8, seed=2).std)
    with pytest.raises(ValueError, match=r"data.fraction=0: expected a number above 0 and at most 1"):
        DataConfig().labelled_part(0, 0)


def test_svhn(tmp_path, monkeypatch):
    believed(monkeypatch, "svhn")
    parts = {"train": images(6), "test": images(4), "extra": images(9)}
    for part, batch in parts.items():
        labels = np.arange(1, len(batch) + 1)[:, None] % 10
        stored = {"X": batch.transpose(1, 2, 3, 0), "y": np.where(labels == 0, 10, labels).astype(np.uint8)}
        scipy.io.savemat(tmp_path / f"{part}_32x32.mat", stored)
    opened = loaders("SVHN", tmp_path)
    same(opened.train.source, parts["train"], [1, 2, 3, 4, 5, 6])
    same(opened.evaluation["svhn"].source, parts["test"], [1, 2, 3, 4])
    same(loaders("SVHN", tmp_path, split="extra").train.source, parts["extra"], [1, 2, 3, 4, 5, 6, 7, 8, 9])


def write_folder(root, count):
    root.mkdir(parents=True)
    batch = images(count, 16)
    for number, image in enumerate(batch):
        Image.fromarray(image).save(root / f"{number}.png")
    return batch


def test_unlabelled_folders_next_to_labelled_ones(tmp_path):
    labelled = write_folder(tmp_path / "train" / "a", 4)
    write_folder(tmp_path / "val" / "a", 3)
    loose = write_folder(tmp_path / "unlabeled", 6)
    opened = loaders("ImageFolder", tmp_path, split="unlabeled")
    same(opened.train.source, loose, [-1] * 6)
    same(opened.reference.source, labelled, [0] * 4)
    assert opened.class_names == ["a"]
    config = DataConfig(dataset="ImageFolder", root=str(tmp_path), split="unlabeled")
    assert config.labelled_part(0.5, 0)[1] == 2
    (tmp_path / "train").rename(tmp_path / "gone")
    with pytest.raises(ValueError, match=r"data.dataset='ImageFolder': the training images have no labels"):
        config.labelled_part(0.5, 0)


def test_beton_files_by_name(tmp_path):
    from ssl_data import ArraySource, write_beton

    train, test = images(8), images(4)
    write_beton(ArraySource(train, np.arange(8) % 3), tmp_path / "train.beton")
    with pytest.raises(
        FileNotFoundError, match=r"expected the files train.beton and test.beton \(or val.beton\), found train"
    ):
        loaders("Beton", tmp_path)
    write_beton(ArraySource(test, np.arange(4) % 2), tmp_path / "val.beton")
    opened = loaders("Beton", tmp_path)
    same(opened.train.source, train, np.arange(8) % 3)
    same(opened.evaluation["beton"].source, test, np.arange(4) % 2)
    assert opened.num_classes == 3
    assert not opened.train.source.scaled_decoding
    assert loaders("Beton", tmp_path, scaled_decoding=True).train.source.scaled_decoding


def test_so_many_of_each_class():
    labels = np.repeat(np.arange(4), [50, 40, 30, 20])
    part = subset_indices(labels, fraction=1.0, imbalance=1.0, seed=0, per_class=10)
    assert np.bincount(labels[part]).tolist() == [10] * 4
    assert np.array_equal(part, subset_indices(labels, 1.0, 1.0, seed=0, per_class=10))
    assert not np.array_equal(part, subset_indices(labels, 1.0, 1.0, seed=1, per_class=10))
    assert set(part) < set(subset_indices(labels, 1.0, 1.0, seed=0, per_class=20))  # fewer lie within more
    with pytest.raises(ValueError, match=r"per_class=21: class 3 has 20 images"):
        subset_indices(labels, 1.0, 1.0, seed=0, per_class=21)
    tail = subset_indices(labels, 1.0, 0.1, seed=0, per_class=20)
    assert np.bincount(labels[tail]).tolist() == [round(20 * 0.1 ** (k / 3)) for k in range(4)]


def test_label_noise_is_symmetric_and_seeded():
    """Each label is wrong with the probability asked for, and each other class is as likely as the next."""
    labels = np.repeat(np.arange(5), 4000)
    wrong = symmetric_label_noise(labels, 5, 0.3, seed=0)
    assert np.array_equal(wrong, symmetric_label_noise(labels, 5, 0.3, seed=0))
    assert not np.array_equal(wrong, symmetric_label_noise(labels, 5, 0.3, seed=1))
    table = np.zeros((5, 5))
    np.add.at(table, (labels, wrong), 1 / 4000)
    assert np.allclose(table, np.where(np.eye(5, dtype=bool), 0.7, 0.3 / 4), atol=0.03)
    more = symmetric_label_noise(labels, 5, 0.6, seed=0)
    assert (more[wrong != labels] == wrong[wrong != labels]).all()
    assert np.array_equal(symmetric_label_noise(labels, 5, 0.0, seed=0), labels)
    assert (symmetric_label_noise(labels, 5, 1.0, seed=0) != labels).all()


def test_run_trains_on_noisy_labels_and_is_tested_on_clean_ones():
    plain, noise = (DataConfig(dataset="digits", label_noise=share).open(32, seed=0) for share in (0.0, 0.4))
    wrong = noise.train.source.labels != plain.train.source.labels
    assert 0.3 < wrong.mean() < 0.5
    assert np.array_equal(noise.train.source.images, plain.train.source.images)
    assert np.array_equal(noise.evaluation["digits"].source.labels, plain.evaluation["digits"].source.labels)
    few = DataConfig(dataset="digits", label_noise=0.4, per_class=20).open(32, seed=0)
    assert np.bincount(few.train.source.labels).tolist() == [20] * 10
    at = few.train.source.ids  # a sample's label is the same in every part
    assert np.array_equal(few.train.source.labels, noise.train.source.labels[at])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_class": 10, "fraction": 0.5}, r"data.per_class=10 and data.fraction=0.5 are mutually exclusive"),
        ({"per_class": 2000}, r"data.per_class=2000: class \d has \d+ images"),
        ({"label_noise": 1.5}, r"data.label_noise=1.5: expected a number"),
        ({"split": "unlabeled"}, r"data.split='unlabeled': expected 'train' for digits"),
    ],
)
def test_invalid_parts_raise(options, message):
    with pytest.raises(ValueError, match=message):
        DataConfig(dataset="digits", **options).open(32, seed=0)
