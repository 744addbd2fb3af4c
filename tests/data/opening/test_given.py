"""Data sets and functions that are given in Python: DataConfig.of."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset, TensorDataset
from torchvision import datasets
from torchvision.transforms import v2

from ssl_data import ArraySource, DataConfig
from ssl_data.opening.open_data import DataLoaders

M = 24
CROP = v2.Compose([v2.ToImage(), v2.RandomCrop(8), v2.ToDtype(torch.float32, scale=True)])
CENTRE = v2.Compose([v2.ToImage(), v2.CenterCrop(8), v2.ToDtype(torch.float32, scale=True)])


def noisy(sample, generator):
    return sample + torch.randn(sample.shape, generator=generator)


class Items(torch.utils.data.Dataset):
    """A data set of a user: pairs (sample, label), as most are written."""

    def __init__(self, samples, labels):
        self.samples, self.classes_of = samples, labels

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        if index >= len(self):
            raise IndexError(index)
        return self.samples[index], self.classes_of[index]


def images(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (M, 10, 10, 3), dtype=np.uint8)


def labels(count=4):
    return np.arange(M) % count


def folder(path):
    for index, image in enumerate(images()):
        place = path / f"class{index % 4}"
        place.mkdir(exist_ok=True)
        Image.fromarray(image).save(place / f"{index:02}.png")
    return path


def hugging_face():
    library = pytest.importorskip("datasets")
    features = library.Features({"picture": library.Image(), "kind": library.ClassLabel(names=list("abcd"))})
    columns = {"picture": [Image.fromarray(image) for image in images()], "kind": labels().tolist()}
    return library.Dataset.from_dict(columns, features=features)


def opened(train, test=None, batch_size=8, seed=0, world_size=1, rank=0, **keys) -> DataLoaders:
    return DataConfig.of(train=train, test=test, num_workers=0, **keys).open(batch_size, seed, rank, world_size)


SPECTROGRAMS = torch.arange(M * 12.0).reshape(M, 1, 3, 4)
SATELLITE = np.random.default_rng(0).integers(0, 4096, (M, 12, 12, 13), dtype=np.uint16)
BANDS = [{"preset": "simclr", "saturation": 0, "hue": 0, "grayscale": 0}]  # views of other bands than RGB
TABLE = np.arange(M * 5, dtype=np.float64).reshape(M, 5)


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        ((SPECTROGRAMS, labels()), (1, 3, 4)),
        ((TABLE, labels().tolist()), (5,)),
        (TensorDataset(SPECTROGRAMS, torch.from_numpy(labels())), (1, 3, 4)),
        (Subset(TensorDataset(SPECTROGRAMS, torch.from_numpy(labels())), range(M)), (1, 3, 4)),
        (Items(SPECTROGRAMS, labels()), (1, 3, 4)),
        ([{"label": int(label), "image": row} for row, label in zip(SPECTROGRAMS, labels())], (1, 3, 4)),
    ],
    ids=["tensor", "table", "tensor data set", "subset", "data set", "mappings"],
)
def test_samples_of_any_shape_with_functions(data, shape):
    loaders = opened(data, data, views=[noisy, noisy])
    (first, second), found, ids = next(iter(loaders.train))
    assert first.shape == second.shape == (8, *shape)
    assert found.tolist() == (ids % 4).tolist()
    assert (loaders.image_shape, loaders.num_classes) == (shape, 4)
    assert first.dtype == torch.float32
    rows = torch.cat([batch[0][0] for batch in loaders.evaluation["test"]])
    expected = torch.as_tensor(TABLE).float() if len(shape) == 1 else SPECTROGRAMS
    assert torch.equal(rows, expected)
    assert loaders.train.labels.tolist() == labels().tolist()


@pytest.mark.parametrize("kind", ["source", "array", "tensor", "data set", "torchvision", "folder", "hugging face"])
def test_images_with_a_preset_and_with_a_pipeline(kind, tmp_path):
    torchvision = datasets.FakeData(M, (3, 10, 10), num_classes=4)
    data = {
        "source": lambda: ArraySource(images(), labels()),
        "array": lambda: (images(), labels()),
        "tensor": lambda: (torch.from_numpy(images()).permute(0, 3, 1, 2), torch.from_numpy(labels())),
        "data set": lambda: Items([Image.fromarray(image) for image in images()], labels().tolist()),
        "torchvision": lambda: torchvision,
        "folder": lambda: str(folder(tmp_path)),
        "hugging face": hugging_face,
    }[kind]()
    keys = {"image": "picture", "label": "kind"} if kind == "hugging face" else {}
    fused = opened(data, data, **keys)
    assert fused.image_shape == (3, 10, 10)
    assert [tuple(view.shape) for view in next(iter(fused.train))[0]] == [(8, 3, 10, 10)] * 2
    own = opened(data, data, views=[CROP, CROP], eval_view=CENTRE, **keys)
    assert own.image_shape == (3, 8, 8)
    assert [tuple(view.shape) for view in next(iter(own.train))[0]] == [(8, 3, 8, 8)] * 2
    assert own.num_classes == fused.num_classes == 4
    assert own.train.labels.tolist() == fused.train.labels.tolist()
    if kind not in ("torchvision", "folder"):
        rows = torch.cat([batch[0][0] for batch in own.evaluation["test"]])
        assert torch.equal((rows * 255).round().byte(), torch.from_numpy(images())[:, 1:9, 1:9].permute(0, 3, 1, 2))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("bands", [1, 2, 3, 13])
def test_arrays_and_tensors_of_any_bands_and_type(kind, bands):
    """The same views from an array (M, H, W, C), a tensor (M, C, H, W) and a source; statistics are those of numpy."""
    range_ = (0, 255) if kind is np.uint8 else (0, 4095)
    stored = (SATELLITE[..., :bands] >> (4 if kind is np.uint8 else 0)).astype(kind)
    made = []
    for data in (stored, torch.from_numpy(stored).permute(0, 3, 1, 2), ArraySource(stored, value_range=range_)):
        loaders = opened((data, labels()) if len(made) < 2 else data, views=BANDS, value_range=range_)
        assert loaders.image_shape == (bands, 12, 12)
        scaled = stored.astype(np.float64) / range_[1]
        assert np.allclose(loaders.mean, scaled.mean((0, 1, 2)), rtol=1e-12)
        assert np.allclose(loaders.std, scaled.std((0, 1, 2)), rtol=1e-9)
        (plain, *_), _, ids = next(iter(loaders.reference))
        expected = (scaled - loaders.mean) / loaders.std
        assert np.allclose(plain.permute(0, 2, 3, 1), expected[ids], atol=2e-6)
        made.append(next(iter(loaders.train))[0][0])
    assert torch.equal(made[0], made[1])
    assert torch.equal(made[0], made[2])


def test_images_of_many_bands_with_functions():
    """They are float32 tensors in [0, 1]: PIL has no mode for them. Oracle: numpy."""
    source = ArraySource(SATELLITE, labels(), value_range=(0, 4095))
    loaders = opened(source, source, views=[v2.RandomCrop(8), noisy])
    (cropped, whole), _, _ = next(iter(loaders.train))
    assert (cropped.shape, whole.shape) == ((8, 13, 8, 8), (8, 13, 12, 12))
    rows = torch.cat([batch[0][0] for batch in loaders.evaluation["test"]])
    assert np.allclose(rows.permute(0, 2, 3, 1), SATELLITE / 4095, atol=1e-6)


def test_transforms_of_torchvision_make_the_sample():
    data = datasets.FakeData(M, (3, 10, 10), num_classes=4, transform=CROP)
    loaders = opened(data, data, views=[noisy, noisy])
    assert loaders.image_shape == (3, 8, 8)  # float, so that it needs no eval_view


def test_named_data_sets_with_functions():
    config = DataConfig(dataset="digits", views=[CROP, CROP, CROP], eval_view=v2.Compose([CROP]), num_workers=0)
    views, _, _ = next(iter(config.open(8, 0).train))
    assert [tuple(view.shape) for view in views] == [(8, 1, 8, 8)] * 3
    assert config.view_sizes() == []


class Named(torch.utils.data.IterableDataset):
    """A stream whose labels are names."""

    def __iter__(self):
        return ((image, ("dog", "cat")[index % 2]) for index, image in enumerate(images()))


def test_class_names_number_named_labels():
    """Oracle: the stream, which takes the number of a name in class_names."""
    indexed = [(image, ("dog", "cat")[index % 2]) for index, image in enumerate(images())]
    keys = {"class_names": ["dog", "cat"], "size": 8}
    streamed = opened(Named(), epoch_samples=M, **keys).train
    found = opened(indexed, test=indexed, **keys)
    assert found.class_names == ["dog", "cat"]
    assert next(iter(found.evaluation["test"]))[1].tolist() == next(iter(streamed))[1].tolist() == [0, 1] * 4
    sampled = opened(indexed, views=[CROP, CROP], eval_view=CENTRE, class_names=["dog", "cat"])
    assert sampled.reference.labels.tolist() == [0, 1] * (M // 2)
    numbered = opened(Items(images(), labels(2)), size=8, class_names=["dog", "cat"])
    assert (numbered.class_names, numbered.reference.labels[:2].tolist()) == (["dog", "cat"], [0, 1])


def test_class_names_that_do_not_fit_raise(tmp_path):
    indexed = [(image, "dog") for image in images()]
    with pytest.raises(ValueError, match=r"sample 0 has the label 'dog': expected one of class_names=\['cat'\]"):
        opened(indexed, size=8, class_names=["cat"])
    names = [f"class{number}" for number in (1, 0, 2, 3)]
    with pytest.raises(ValueError, match=r"data.train: class_names=.*: expected the class folders in sorted order"):
        opened(folder(tmp_path), size=8, class_names=names)


def test_test_folders_named_by_numbers_need_all_classes(tmp_path):
    for part, names in (("train", "012"), ("test", "02")):
        for name in names:
            (tmp_path / part / name).mkdir(parents=True)
            Image.fromarray(images()[int(name)]).save(tmp_path / part / name / "x.png")
    with pytest.raises(ValueError, match=r"data.test: its classes are not those .* \(2 and 3\); it has no '1'"):
        opened(str(tmp_path / "train"), str(tmp_path / "test"), batch_size=2, size=8)
    first = opened(
        str(tmp_path / "train"), (images()[:2], [0, 1]), batch_size=2, size=8
    )  # numbers of the first classes
    assert first.evaluation["test"].labels.tolist() == [0, 1]


def test_columns_of_hugging_face_by_name(tmp_path):
    library = pytest.importorskip("datasets")
    library.DatasetDict({"train": hugging_face(), "validation": hugging_face()}).save_to_disk(tmp_path / "saved")
    keys = {"image_key": "picture", "label_key": "kind", "root": str(tmp_path / "saved"), "download": False}
    loaders = DataConfig(dataset="huggingface", num_workers=1, **keys).open(8, 0)
    assert np.array_equal(loaders.evaluation["huggingface"].source.images, images())
    assert loaders.class_names == list("abcd")
    with pytest.raises(ValueError, match=r"data.split='extra': expected one of 'train', 'validation'"):
        DataConfig(dataset="huggingface", split="extra", **keys).open(8, 0)
    with pytest.raises(FileNotFoundError, match=r"data.root='/nowhere/at/all': Hugging Face's datasets cannot open it"):
        DataConfig(dataset="huggingface", root="/nowhere/at/all", download=False).open(8, 0)


def test_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(ValueError, match=r"pip install 'ssl-data\[huggingface\]'"):
        DataConfig(dataset="huggingface", root="org/name").open(8, 0)


@pytest.mark.parametrize("functions", [False, True])
def test_subsets_noise_and_imbalance(functions):
    data = (images(), labels())
    keys = {"views": [CROP, CROP], "eval_view": CENTRE} if functions else {}
    assert len(opened(data, **keys, fraction=0.5).train.labels) == M // 2
    assert np.bincount(opened(data, **keys, per_class=3).train.labels).tolist() == [3] * 4
    assert np.bincount(opened(data, **keys, batch_size=4, imbalance=0.2).train.labels).tolist() == [6, 4, 2, 1]
    noisy_labels = opened(data, **keys, label_noise=1.0)
    assert not (noisy_labels.train.labels == labels()).any()
    assert (noisy_labels.evaluation, len(noisy_labels.reference.labels)) == ({}, M)
    part = opened(data, data, **keys, fraction=0.5)
    (views, _, ids), whole = next(iter(part.train)), opened(data, data, **keys).train
    everything = torch.cat([batch[0][0] for batch in whole.in_order().start(0)])
    assert torch.equal(views[0], everything[ids])  # a view of a sample is the same in every subset


@pytest.mark.parametrize("views", ["simclr", [CROP, CROP]])
def test_eval_fraction_is_balanced_and_the_same_for_every_seed(views):
    keys = {"views": views, "eval_view": None if views == "simclr" else CENTRE, "eval_fraction": 0.5}
    first, second = (opened((images(), labels()), (images(), labels()), seed=seed, **keys) for seed in (0, 1))
    chosen = torch.cat([batch[2] for batch in first.evaluation["test"]])
    assert np.bincount(chosen.numpy() % 4).tolist() == [3] * 4
    assert torch.equal(chosen, torch.cat([batch[2] for batch in second.evaluation["test"]]))
    assert len(first.train.labels) == M


def test_several_evaluations_and_a_labelled_reference():
    data = (SPECTROGRAMS, labels())
    loaders = opened(SPECTROGRAMS, {"near": data, "far": data}, views=[noisy, noisy], reference=data)
    assert list(loaders.evaluation) == ["near", "far"]
    assert loaders.num_classes == 4
    assert (loaders.train.labels == -1).all()
    config, count = DataConfig.of(train=SPECTROGRAMS, reference=data, views=[noisy], num_workers=0).labelled_part(
        0.5, 0
    )
    assert count == M // 2
    assert np.bincount(config.open(4, 0).train.labels).tolist() == [3] * 4


def scaled(batch, generator):
    views, labels, ids = batch
    factor = torch.rand(len(labels), generator=generator, device=views[0].device)
    return [view * factor[:, None, None, None] for view in views], labels, ids


@pytest.mark.parametrize("views", ["simclr", [CROP, CROP]])
def test_batch_transform_resumes_exactly(views):
    """Oracle: torch.Generator: the factor is the one that a batch is multiplied by."""
    keys = {"views": views, "eval_view": None if views == "simclr" else CENTRE}
    plain, train = (opened((images(), labels()), batch_transform=function, **keys).train for function in (None, scaled))
    before, after = list(plain.start(1, 0)), list(train.start(1, 0))
    for (unscaled, *_), (views_, *_) in zip(before, after):
        factors = (views_[0].double() / unscaled[0].double()).flatten(1).nanmedian(1).values
        assert factors.unique().numel() == len(factors)
        assert torch.allclose(unscaled[1] * factors[:, None, None, None].float(), views_[1])
    for step in range(len(after) + 1):
        rest = list(train.start(1, step))
        assert all(torch.equal(a[0][0], b[0][0]) for a, b in zip(rest, after[step:], strict=True))
    assert not torch.equal(after[0][0][0], next(iter(train.start(0, 0)))[0][0])


def test_batch_transform_on_ranks_draws_other_numbers():
    same, found = torch.ones(M, 1, 1, 1), []
    for rank in range(2):
        loaders = opened(same, views=[v2.Identity()], batch_transform=scaled, world_size=2, rank=rank)
        found += next(iter(loaders.train))[0][0].flatten().tolist()
    assert len(set(found)) == 8


def test_invalid_batch_transform_raises():
    loaders = opened(SPECTROGRAMS, views=[noisy], batch_transform=lambda batch, generator: batch[0])
    with pytest.raises(ValueError, match=r"batch_transform returned a list: expected \(views, labels, indices\)"):
        next(iter(loaders.train))


@pytest.mark.parametrize(
    ("change", "differs"),
    [({}, []), ({"train": (SPECTROGRAMS + 1, labels())}, ["train"]), ({"views": [noisy, v2.Identity()]}, ["functions"]),
     ({"train": (SPECTROGRAMS[:20], labels()[:20])}, ["train"]), ({"train": (SPECTROGRAMS, labels(3))}, ["train"])],
    ids=["nothing", "values", "function", "length", "labels"],
)  # fmt: skip
def test_fingerprint_changes_with_data_and_functions(change, differs):
    keys = {"train": (SPECTROGRAMS, labels()), "views": [noisy, noisy]}
    before, after = (opened(**{**keys, **new}).fingerprint() for new in ({}, change))
    assert [part for part in before if before[part] != after[part]] == differs


def test_fingerprint_of_pipelines_and_random_samples(caplog):
    def of(*views, **keys):
        return opened((images(), labels()), views=list(views), eval_view=CENTRE, **keys).fingerprint()

    assert of(CROP) == of(v2.Compose(CROP.transforms))
    assert of(CROP) != of(v2.Compose([v2.RandomCrop(9), *CROP.transforms]))
    transformed = datasets.FakeData(M, (3, 10, 10), num_classes=4, transform=CROP)  # draws from the global generator
    first, second = (opened(transformed, views=[noisy]).fingerprint() for _ in range(2))
    assert first == second
    assert not caplog.records
    private = np.random.default_rng(0)

    class Private(Items):
        def __getitem__(self, index):
            return torch.from_numpy(private.random(3)), super().__getitem__(index)[1]

    first, second = (opened(Private(TABLE, labels()), views=[noisy]).fingerprint() for _ in range(2))
    assert first == second
    assert "differs from one call to the next" in caplog.text


class Fails(Items):
    def __getitem__(self, index):
        if index == 5:
            raise RuntimeError("no such scan")
        return super().__getitem__(index)


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ({"train": (SPECTROGRAMS, labels())}, ValueError, r"data.train: sample 0: the value 2 in row 0, column 2, band 0"),
        ({"train": (TABLE, labels())}, ValueError, r"data.train: expected images, .*got float64 \(24, 5\); .*views=\[function"),
        ({"train": SATELLITE.astype(float)}, ValueError, r"data.train: images: .*got float64 .*use images.astype\('float32'\)"),
        ({"train": SATELLITE.transpose(0, 3, 1, 2)}, ValueError, r"data.train: .* 12 bands of 13 x 12 pixels; for \(M, C, H"),
        ({"train": torch.from_numpy(SATELLITE)}, ValueError, r"a tensor \(M, C, H, W\), got \(24, 12, 12, 13\): 12 bands of"),
        ({"train": SATELLITE}, ValueError, r"data.views: saturation=0.4: needs RGB images \(hue=0.1 and grayscale=0.2 as well"),
        ({"train": SATELLITE, "value_range": (0, 99)}, ValueError, r"data.train: sample 0: the value .* value_range=\(0, 99"),
        ({"train": ArraySource(SATELLITE), "value_range": [0, 99]}, ValueError, r"sample 0: the value .* value_range=\(0, 99"),
        ({"train": Items(TABLE, labels())}, ValueError, "data.train: .*expected a PIL image or"),
        ({"train": iter([1]), "views": [noisy]}, ValueError, "data.train=.*with __len__ and __getitem__.*make a list"),
        ({"train": (SPECTROGRAMS, labels()[:3]), "views": [noisy]}, ValueError, "data.train=.*: 3 labels for 24 samples"),
        ({"train": Items(TABLE, TABLE[:, 0] + 0.5), "views": [noisy]}, ValueError, "sample 0 has the label 0.5"),
        ({"train": Fails(TABLE, labels()), "views": [noisy]}, ValueError, r"data.train=Fails: dataset\[5\] raised Runtime"),
        ({"train": (images(), labels()), "views": [CROP]}, ValueError, "data.eval_view=None: .*a PIL image 10 x 10"),
        ({"train": "/nowhere"}, FileNotFoundError, "data.*/nowhere"),
        ({"train": images(), "views": [CROP], "eval_view": CENTRE, "imbalance": 0.5}, ValueError, "data.imbalance=0.5: the"),
        ({"train": (TABLE, labels(3)), "test": (TABLE, labels()), "views": [noisy]}, ValueError, "data.test: its classes"),
        ({"train": SPECTROGRAMS, "views": [noisy], "on_error": "skip"}, ValueError, "data.on_error='skip': expected 'raise'"),
        ({"train": SPECTROGRAMS, "views": [noisy], "batch_size": 25}, ValueError, "batch_size=25"),
    ],
)  # fmt: skip
def test_invalid_data_names_what_was_found(keys, error, message):
    with pytest.raises(error, match=message):
        opened(**keys)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"view": []}, r"DataConfig.of\(view=...\): unknown key; did you mean 'views'|eval_view"),
        ({"fractoin": 0.5}, r"unknown key; did you mean 'fraction'"),
        ({"dataset": "CIFAR10"}, r"DataConfig.of\(dataset=...\): unknown key"),
        ({"views": [noisy, {"preset": "simclr"}]}, "expected a function for each view, or none"),
        ({"views": [noisy], "size": 8}, "data.size=8: not a key of views that are functions"),
        ({"views": [noisy], "executor": "device"}, "data.executor='device': not a key"),
        ({"views": [noisy], "value_range": (0, 1)}, r"data.value_range=\(0, 1\): not a key"),
        ({"value_range": [4095, 0]}, r"data.value_range=\[4095, 0\]: expected two numbers"),
        ({"value_range": [4095]}, r"data.value_range=\[4095\]: expected two numbers"),
        ({"value_range": "12 bits"}, r"data.value_range='12 bits': expected two numbers"),
        ({"eval_view": 3}, "data.eval_view=3: expected a function, which only Python can give"),
        ({"batch_transform": "mixup"}, "data.batch_transform='mixup': expected a function"),
        ({"eval_fraction": 0.0}, "data.eval_fraction=0.0: expected a number"),
    ],
)
def test_invalid_keys_raise_before_data_is_opened(keys, message):
    with pytest.raises(ValueError, match=message):
        DataConfig.of(**{"train": images(), **keys})


def test_configuration_from_a_file_names_the_way_out():
    config = DataConfig(dataset="objects", views=["<builtins.function>"])
    config.check()  # so that the model of the run can be loaded
    with pytest.raises(
        ValueError, match=r"data.dataset='objects': .*run the script again that passes them to fit\(\) or"
    ):
        config.open(8, 0)
    with pytest.raises(ValueError, match=r"data.dataset='digits': .*Python objects"):
        DataConfig(views=["<builtins.function>"]).open(8, 0)
