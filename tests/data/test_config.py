import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from ssl_data import ArraySource, DataConfig, Loader, views
from ssl_data.opening.open_data import device_of


def test_digits_are_those_of_scikit_learn():
    """Oracle: sklearn.datasets.load_digits."""
    from sklearn.datasets import load_digits

    theirs = load_digits()
    loaders = DataConfig(views="digits", size=16).open(256, seed=0)
    train, test = loaders.train.source, loaders.evaluation["digits"].source
    ours = np.concatenate([train.images, test.images])[..., 0]
    expected = np.round(theirs.images * 255 / 16).astype(np.uint8)
    assert (len(train), len(test)) == (1433, 364)
    as_set = lambda images: sorted(image.tobytes() for image in images)  # noqa: E731
    assert as_set(ours) == as_set(expected)
    assert np.bincount(test.labels).min() >= 35
    for image, label in zip(test.images[:50, ..., 0], test.labels[:50]):
        found = np.flatnonzero((expected == image).all((1, 2)))
        assert label in theirs.target[found]


def test_affine_digits_are_made_by_the_script():
    """Oracle: the digits themselves, and scikit-learn's kNN, which knows digits at the same place and no others."""
    from sklearn.neighbors import KNeighborsClassifier

    path = Path(__file__).parents[2] / "runs" / "bench" / "affine_digits.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    plain, affine = (DataConfig(name, views="digits").open(256, seed=0) for name in ("digits", "affine_digits"))
    parts = [
        (data.train.source, data.evaluation[name].source)
        for name, data in (("digits", plain), ("affine_digits", affine))
    ]
    accuracies = []
    for train, test in parts:
        assert (len(train), len(test)) == (1433, 364)
        model = KNeighborsClassifier(20).fit(train.images.reshape(len(train), -1), train.labels)
        accuracies.append(model.score(test.images.reshape(len(test), -1), test.labels))
    assert accuracies[0] > 0.95
    assert 0.5 < accuracies[1] < 0.8
    with np.load(script.DIGITS) as file:
        images, labels = file["images"], file["labels"]
    with np.load(script.DIGITS.with_name("affine_digits.npz")) as file:
        assert np.array_equal(file["labels"], labels)
        placed = script.place(images).astype(int)
        assert np.abs(placed - file["images"]).max() <= 1  # rounding may differ between processors
    area = placed.sum((1, 2)) / images.sum((1, 2), dtype=int) / (script.FRAME * script.SCALE / 8) ** 2
    assert 0.8**2 * 0.9 < area.min() < 0.7 < 1.3 < area.max() < 1.2**2 * 1.1  # scaled, and no ink is lost


def test_loaders_of_a_run():
    loaders = DataConfig(dataset="FakeData", views="simclr").open(64, seed=0)
    assert loaders.num_classes == 10
    assert loaders.image_shape == (3, 32, 32)
    assert len(loaders.mean) == len(loaders.std) == 3
    images, _, _ = next(iter(loaders.train))
    assert [tuple(view.shape) for view in images] == [(64, 3, 32, 32)] * 2
    assert abs(next(iter(loaders.reference))[0][0].mean()) < 0.05  # normalised by its own statistics
    assert sum(len(batch[1]) for batch in loaders.reference) == 1024
    assert sum(len(batch[1]) for batch in loaders.evaluation["fakedata"]) == 256


def test_cifar10_as_class_folders(cifar10_folder):
    loaders = DataConfig(dataset="CIFAR10", root=str(cifar10_folder)).open(32, seed=0)
    assert loaders.class_names[:2] == ["airplane", "automobile"]
    assert len(loaders.train.source) == 200
    assert list(loaders.evaluation) == ["cifar10"]


def test_executor_is_a_key():
    fused, device = (
        DataConfig(executor=executor, views="simclr").open(64, seed=0, world_size=2, rank=1)
        for executor in ("auto", "device")
    )
    for name in ("train", "reference"):
        ours, theirs = next(iter(getattr(fused, name))), next(iter(getattr(device, name)))
        assert torch.equal(ours[2], theirs[2])
        assert not torch.equal(ours[0][0], theirs[0][0])  # another executor
        assert (ours[0][0] - theirs[0][0]).abs().max() < 1e-3
    assert next(iter(DataConfig(dtype="bfloat16").open(64, seed=0).train))[0][0].dtype == torch.bfloat16
    assert next(iter(DataConfig(dtype="bfloat16").open(64, seed=0).reference))[0][0].dtype == torch.float32


def test_device_is_chosen_by_what_fits(monkeypatch):
    """What torch would say on a machine with a GPU; this one has none."""
    source = ArraySource(np.zeros((1000, 32, 32, 3), np.uint8))
    unread = ArraySource(np.zeros((4, 32, 32, 3), np.uint8))
    unread.images = None
    assert device_of(DataConfig(), source) is None
    assert device_of(DataConfig(executor="device"), source) == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_of(DataConfig(), source) == device_of(DataConfig(executor="device"), source) == "cuda"
    assert device_of(DataConfig(executor="fused"), source) is None
    assert device_of(DataConfig(device_memory_gb=0.001), source) is None
    assert device_of(DataConfig(), unread) is None
    with pytest.raises(ValueError, match=r"data.executor='device'.*not in memory"):
        device_of(DataConfig(executor="device"), unread)


def test_preset_can_be_changed_by_a_mapping():
    """As it stands in YAML: lists for pairs."""
    mapping = yaml.safe_load("{preset: dino, num_local: 1, crop_scale: [0.5, 1.0], rotation: 10}")
    specs = DataConfig(views=[mapping, {"flip": 0.5}], dataset="FakeData").open(32, seed=0).train.views
    assert [(spec.size, spec.crop_scale, spec.rotation) for spec in specs] == [
        (32, (0.5, 1.0), 10), (32, (0.5, 1.0), 10), (14, (0.5, 1.0), 10), (32, (1.0, 1.0), 0.0)
    ]  # fmt: skip
    assert [spec.solarize for spec in specs] == [0.0, 0.2, 0.0, 0.0]  # what is not named stays the preset's
    with pytest.raises(ValueError, match=r"data.views='dina'.*did you mean 'dino'"):
        DataConfig(views=[{"preset": "dina"}]).open(32, seed=0)


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({"dataset": "digits", "views": "digits"}, [16, 16]),
        ({"dataset": "digits", "views": "digits", "size": 24}, [24, 24]),
        ({"dataset": "digits", "views": [{"preset": "swav", "num_local": 2}, {"size": 9}]}, [16, 16, 7, 7, 9]),
    ],
)
def test_sizes_of_views_are_known_before_opening(options, sizes):
    config = DataConfig(**options)
    assert config.view_sizes() == sizes
    assert [spec.size for spec in config.open(32, seed=0).train.views] == sizes


def test_sizes_and_labels_of_files_are_not_known_before_opening(tmp_path):
    files = DataConfig(dataset="ImageFolder", views=[{"preset": "simclr"}, {"size": 64}])
    assert files.view_sizes() == [None, None, 64]
    assert files.has_labels() is None
    assert DataConfig(dataset="ImageFolder", views="mae", size=48).view_sizes() == [48]
    stl10 = DataConfig(dataset="STL10", split="unlabeled", root=str(tmp_path))
    assert (stl10.view_sizes(), stl10.has_labels(), DataConfig().has_labels()) == ([96, 96], False, True)
    (tmp_path / "stl10" / "train").mkdir(parents=True)
    assert (stl10.view_sizes(), stl10.has_labels()) == ([None, None], None)


def test_worker_threads_are_bounded(caplog, monkeypatch):
    """The views are the same for any number of threads: a run from a larger machine is not refused."""
    monkeypatch.setattr("ssl_data.loading.threads.available_threads", lambda: 2)
    assert DataConfig(num_workers=16).open(32, seed=0).train.num_workers == 16
    assert not caplog.messages
    loaders = DataConfig(num_workers=5000).open(32, seed=0)
    assert loaders.train.num_workers == loaders.reference.num_workers == 16
    assert caplog.messages == [
        "data.num_workers=5000: more than 8 threads for each of 2 available processors; using 16"
    ]
    assert Loader(loaders.train.source, views("digits", 16), 32, num_workers=10**6).num_workers == 16
    assert Loader(loaders.train.source, views("digits", 16), 32).num_workers == 2


def test_own_views_by_mappings():
    loaders = DataConfig(views=[{"flip": 0.5, "size": 12}, {"rotation": 10}], size=16).open(32, seed=0)
    images, _, _ = next(iter(loaders.train))
    assert [tuple(view.shape) for view in images] == [(32, 1, 12, 12), (32, 1, 16, 16)]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dataset": "CIFAR11"}, ValueError, r"data.dataset='CIFAR11': expected one of"),
        ({"views": "simclf"}, ValueError, r"data.views='simclf'.*simclr"),
        ({"views": [{"flop": 1}]}, ValueError, r"^data.views: flop=1: unknown operation"),
        ({"views": [{"flip": "often"}]}, ValueError, r"data.views: flip='often': expected a number"),
        ({"views": [{"crop_scale": 0.2}]}, ValueError, r"data.views: crop_scale=0.2: expected a list of two numbers"),
        ({"views": [{"size": 2.5}]}, ValueError, r"data.views: size=2.5: expected a whole number"),
        ({"size": "32"}, ValueError, r"^data.size='32': expected a number at least 0"),
        ({"fraction": None}, ValueError, r"^data.fraction=None: expected a number"),
        ({"per_class": 500}, ValueError, r"^data.per_class=500: class 8 has 139 images"),
        ({"views": []}, ValueError, r"data.views=\[\]"),
        ({"views": 5}, ValueError, r"data.views=5: expected one of"),
        ({"views": [{"preset": 5}]}, ValueError, r"data.views=5: expected one of"),
        ({"views": [{"preset": ["byol"]}]}, ValueError, r"data.views=\['byol'\]: expected one of"),
        ({"views": [{"preset": "BYOL"}]}, ValueError, r"data.views='BYOL'.*did you mean 'byol'"),
        (
            {"views": [{"preset": "simclr", "num_local": 4}]},
            ValueError,
            r"^data.views: num_local=4: only 'dino' and 'swav' have local views, 'simclr' has none",
        ),
        ({"views": [{"preset": "dino", "num_local": "4"}]}, ValueError, r"^data.views: num_local='4': expected a whole"),
        ({"views": [{"preset": "swav", "num_local": -1}]}, ValueError, r"^data.views: num_local=-1: expected a whole"),
        ({"views": [{"num_local": 3}]}, ValueError, r"^data.views: num_local=3: expected a preset"),
        ({"views": [{1: 2}]}, ValueError, r"^data.views: 1=2: unknown operation"),
        ({"views": [{"rotation": float("nan")}]}, ValueError, r"^data.views: rotation=nan: expected finite"),
        ({"views": [{"noise": -1}]}, ValueError, r"^data.views: noise=-1: expected at least 0"),
        ({"views": [{"mean": [0.5]}]}, ValueError, r"^data.views: mean=\[0.5\]: not a key here"),
        ({"dataset": "ImageFolder", "root": "/nowhere"}, FileNotFoundError, r"data.root='/nowhere'"),
        (
            {"dataset": "CIFAR10", "root": "/nowhere", "download": False},
            FileNotFoundError,
            r"data.root='/nowhere': CIFAR10 is not there.*SSL_DATA_ROOT",
        ),
    ],
)  # fmt: skip
def test_invalid_input_names_the_key(options, error, message):
    with pytest.raises(error, match=message):
        DataConfig(**options).open(8, seed=0)


def test_eval_per_class_is_a_seeded_number_of_each_class():
    """Oracle: numpy's counts."""
    options = {"dataset": "digits", "views": "digits", "eval_per_class": 7}
    first, second = (DataConfig(**options, fraction=0.5).open(32, seed=seed).evaluation["digits"] for seed in (0, 1))
    assert np.bincount(first.labels).tolist() == [7] * 10
    assert np.array_equal(first.source.ids, second.source.ids)  # whatever the seed of the run
    whole = DataConfig(dataset="digits", views="digits").open(32, seed=0).evaluation["digits"].source
    assert np.array_equal(first.labels, whole.labels[first.source.ids])
    fewer = DataConfig(**options | {"eval_per_class": 3}).open(32, seed=0).evaluation["digits"].source
    assert set(fewer.ids) < set(first.source.ids)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eval_per_class": 36}, r"^data.eval_per_class=36: 'digits': class \d has 3\d images"),
        ({"eval_per_class": 5, "eval_fraction": 0.5}, "^data.eval_per_class=5 and data.eval_fraction=0.5 are mutually"),
        ({"eval_per_class": -1}, "^data.eval_per_class=-1: expected a number at least 0"),
    ],
)
def test_invalid_parts_for_evaluation_name_the_key(options, message):
    with pytest.raises(ValueError, match=message):
        DataConfig(**options).open(8, seed=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pixels": "rgb"}, "^data.pixels='rgb': expected one of 'rgb8', 'stored'"),
    ],
)
def test_invalid_pixels_name_the_key(options, message):
    with pytest.raises(ValueError, match=message):
        DataConfig(**options).open(8, seed=0)


def test_eval_per_class_needs_labels():
    images = np.zeros((8, 8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match=r"^data.eval_per_class=2: the images of 'test' have no labels"):
        DataConfig.of(train=(images, [0, 1] * 4), test=images, eval_per_class=2).open(4, seed=0)


def test_without_a_network_the_error_names_the_remedy(tmp_path, monkeypatch):
    """Oracle: torchvision's own download, to an address that nobody listens at."""
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar.tar.gz")
    with pytest.raises(FileNotFoundError, match=r"CIFAR10 is not there \(the download failed.*class folders"):
        DataConfig(dataset="CIFAR10", root=str(tmp_path / "fresh")).open(8, seed=0)
    assert not (tmp_path / "fresh").exists()


def test_train_and_test_must_have_the_same_classes(tmp_path):
    from PIL import Image

    for name in ("train/a", "train/b", "test/a"):
        (tmp_path / name).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / name / "0.png")
    with pytest.raises(ValueError, match=r"only one of train/ and test/ has: \['b'\]"):
        DataConfig(dataset="ImageFolder", root=str(tmp_path)).open(1, seed=0)
    (tmp_path / "train").rename(tmp_path / "training")
    with pytest.raises(FileNotFoundError, match="expected the folders train/ and test/"):
        DataConfig(dataset="ImageFolder", root=str(tmp_path)).open(1, seed=0)


def test_reading_a_configuration_loads_neither_torch_nor_numba():
    heavy = "{'torch', 'numba', 'numpy'}"
    code = f"import sys; from ssl_data import DataConfig; DataConfig(); assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
