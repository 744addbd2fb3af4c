"""The report of a data set. Oracles: what the test wrote, PIL, hashlib, collections.Counter and numpy."""

import hashlib
import itertools
import random
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

from ssl_data import ArraySource, DataConfig, Subset, describe
from ssl_data.errors import ArgumentError
from ssl_data.inspection.data_report import WIDTH


def noisy(sample, generator):
    return sample + torch.randn(sample.shape, generator=generator)


def write(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def folders(tmp_path):
    """Two parts in folders: images of several sizes, copies in other formats, damaged files and an image of one colour."""
    rng = np.random.default_rng(0)
    made = [rng.integers(0, 256, (8 + k, 12, 3), dtype=np.uint8) for k in range(7)]
    for k, pixels in enumerate(made):
        write(tmp_path / "train" / ("cat" if k < 5 else "dog") / f"{k}.png", pixels)
    write(tmp_path / "train" / "dog" / "copy.tif", made[0])  # of a cat
    write(tmp_path / "train" / "dog" / "red.png", np.full((9, 9, 3), (255, 0, 0), np.uint8))
    write(tmp_path / "test" / "cat" / "same.bmp", made[6])
    write(tmp_path / "test" / "dog" / "same.jpg", made[1], quality=50)  # other pixels
    write(tmp_path / "test" / "dog" / "fine.png", made[0][::-1].copy())
    whole = (tmp_path / "train/cat/1.png").read_bytes()
    for name, content in (
        ("train/cat/cut.png", whole[:100]),
        ("train/dog/empty.png", b""),
        ("test/dog/empty.png", b""),
    ):
        (tmp_path / name).write_bytes(content)
    return tmp_path


def decoded(folder):
    """Return name -> pixels of the files that PIL reads."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            with Image.open(path) as image:
                found[path] = np.asarray(image.convert("RGB"))
        except OSError:
            continue
    return found


def test_report_of_folders_equals_a_count_by_hand(folders):
    report = describe(DataConfig(dataset="ImageFolder", root=str(folders)))
    assert list(report.parts) == ["train", "test"]
    seen = {}
    for name, part in report.parts.items():
        pixels = decoded(folders / name)
        files = [path for path in (folders / name).rglob("*") if path.is_file()]
        sizes = np.array([each.shape[:2] for each in pixels.values()])
        assert (part.num_samples, part.num_read) == (len(files), len(files))
        assert part.num_unreadable == len(files) - len(pixels) > 0
        assert part.class_counts == Counter(path.parent.name for path in files)
        assert part.shapes == Counter(each.shape for each in pixels.values())
        assert part.sizes == (tuple(sizes.min(0)), tuple(np.median(sizes, 0)), tuple(sizes.max(0)))
        assert (part.bands, part.dtypes) == ({3: len(pixels)}, {"uint8": len(pixels)})
        seen[name] = {path: hashlib.sha256(each.tobytes()).digest() for path, each in pixels.items()}
        assert part.num_duplicates == len(pixels) - len(set(seen[name].values()))
        assert part.num_constant == sum(len(np.unique(each.reshape(-1, 3), axis=0)) == 1 for each in pixels.values())
    train = report.parts["train"]
    copy = (f"'{folders}/train/dog/copy.tif'", f"'{folders}/train/cat/0.png'")
    assert (train.duplicates, train.num_conflicts) == ([copy], 1)
    assert train.constant == [f"'{folders}/train/dog/red.png'"]
    assert [each.name for each in train.unreadable] == [
        f"'{folders}/train/{name}.png'" for name in ("cat/cut", "dog/empty")
    ]
    [shared] = report.shared
    assert shared.num_shared == sum(digest in seen["train"].values() for digest in seen["test"].values()) == 1
    assert shared.pairs == [(f"'{folders}/test/cat/same.bmp'", f"'{folders}/train/dog/6.png'")]
    assert report.num_unreadable == 3
    text = str(report)
    for path in ("train/cat/cut.png", "test/dog/empty.png", "test/cat/same.bmp", "train/dog/copy.tif"):
        assert f"'{folders}/{path}'" in text
    assert "1 repeat another image, 1 with another label" in " ".join(text.split())
    assert all(len(line) <= WIDTH or " " not in line.strip() for line in text.splitlines())


def test_report_follows_subsets_and_label_noise():
    labels = np.arange(120) % 3
    images = np.random.default_rng(0).integers(0, 256, (120, 6, 6), dtype=np.uint8)
    config = DataConfig.of((images, labels), test=(images[:9], labels[:9]), imbalance=0.1, class_names=["a", "b", "c"])
    opened = config.open(1, 7).train
    train = describe(config, seed=7).parts["train"]
    assert list(train.class_counts.values()) == np.bincount(opened.labels).tolist()
    assert train.num_samples == len(opened.source)
    assert train.imbalance == pytest.approx(10)
    noisy = DataConfig.of((images, labels), label_noise=0.5)
    assert (
        list(describe(noisy).parts["train"].class_counts.values())
        == np.bincount(noisy.open(1, 0).train.labels).tolist()
    )
    images[9] = images[4]
    part = describe(Subset(ArraySource(images, labels), np.array([4, 7, 9]))).parts["data"]
    assert part.class_counts == {"0": 1, "1": 2, "2": 0}
    assert part.duplicates == [("sample 9", "sample 4")]


def test_report_follows_eval_per_class():
    config = DataConfig(dataset="digits", eval_per_class=5)
    test = describe(config).parts["test"]
    assert test.num_samples == len(config.open(1, 0).evaluation["digits"].source) == 50
    assert list(test.class_counts.values()) == [5] * 10


def test_samples_are_spread_evenly_and_classes_counted_over_all():
    images = np.arange(100, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2)
    read = []

    class Watched(ArraySource):
        def image(self, position):
            read.append(position)
            return super().image(position)

    part = describe(Watched(images, np.arange(100) // 50), samples=5).parts["data"]
    assert sorted(read) == np.linspace(0, 99, 5).round().tolist()
    assert (part.num_samples, part.num_read, part.class_counts) == (100, 5, {"0": 50, "1": 50})
    assert "5 of them were read" in str(part)


class Transformed(Dataset):
    """A data set whose samples are transformed at random."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return torch.zeros(3) + random.random(), index % 2


def test_random_samples_have_no_duplicates():
    part = describe(Transformed()).parts["data"]
    assert part.num_duplicates is None
    assert "a sample differs from one call to the next" in str(part)
    assert random.getstate() == (describe(Transformed()), random.getstate())[1]


def test_tensors_of_any_shape():
    x = torch.randn(6, 1, 40, 100)
    x[4] = x[1]
    x[5, 0, 3, 3] = torch.nan
    part = describe(TensorDataset(x, torch.tensor([0, 1, 2, 0, 1, 2]))).parts["data"]
    assert (part.are_images, part.shapes, part.dtypes) == (False, {(1, 40, 100): 6}, {"float32": 6})
    assert (part.duplicates, part.not_finite) == ([("sample 4", "sample 1")], ["sample 5"])
    assert "6 samples, shape (1, 40, 100) of float32" in str(part)
    words = describe(["one", "two", "one"]).parts["data"]
    assert (words.num_duplicates, words.dtypes, words.num_unlabelled) == (1, {"str": 3}, 3)


def test_unreadable_samples_of_a_data_set_are_all_named(folders):
    files = sorted((folders / "train").rglob("*.*"))
    items = [{"image": {"path": str(path)}, "label": path.parent.name} for path in files]
    for options in ({}, {"on_error": "skip", "skip_limit": 0.0}):
        part = describe(DataConfig.of(items, **options)).parts["train"]
        damaged = [files.index(folders / "train" / name) for name in ("cat/cut.png", "dog/empty.png")]
        assert [each.name for each in part.unreadable] == [f"dataset[{position}]" for position in damaged]

    class Failing(TensorDataset):
        def __getitem__(self, index):
            return super().__getitem__(index) if index != 3 else int("three")

    failing = Failing(torch.randn(5, 4))
    [unreadable] = describe(failing).parts["data"].unreadable
    assert unreadable == ("sample 3", "invalid literal for int() with base 10: 'three'")


def test_report_is_the_same_for_any_number_of_threads(folders):
    config = DataConfig(dataset="ImageFolder", root=str(folders))
    assert len({str(describe(config, num_workers=number)) for number in (1, 2, 5)}) == 1


def test_interruption_stops_the_threads(monkeypatch):
    """Ctrl-C arrives in this thread."""
    calls = itertools.count()

    class Counted(ArraySource):
        def image(self, position):
            next(calls)
            return super().image(position)

    def interrupted(tally, stretch):
        raise KeyboardInterrupt

    monkeypatch.setattr("ssl_data.inspection.read_samples.Tally.add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        describe(Counted(np.zeros((100_000, 2, 2), np.uint8)), num_workers=2)
    assert next(calls) < 50_000


def test_progress_is_one_line_that_is_removed(monkeypatch, capsys):
    monkeypatch.setattr("ssl_data.inspection.read_samples._PROGRESS_SECONDS", 0.0)
    source = ArraySource(np.zeros((200, 4, 4), np.uint8))
    describe(source, progress=True)
    shown = capsys.readouterr().err
    assert "\rdata: 64 of 200 read" in shown
    assert shown.endswith("\r\033[K")
    describe(source)
    assert capsys.readouterr().err == ""


def test_streams_are_not_read():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            raise AssertionError("it was read")

    x = torch.arange(6.0)[:, None]
    keys = {"test": (x[3:], [0] * 3), "views": [noisy]}
    report = describe(DataConfig.of(Stream(), reference=(x[:4], [0, 1] * 2), **keys))
    assert list(report.parts) == ["reference", "test"]
    assert report.shared[0].pairs == [("sample 0", "sample 3")]
    assert str(report).startswith("train: a stream or loader, whose samples are not read\nreference: 4 samples")
    with pytest.raises(ArgumentError, match=r"data.train='Stream': a stream or loader, whose samples cannot be read"):
        describe(DataConfig.of(Stream(), **keys))


def test_wrong_input_is_one_line(tmp_path):
    with pytest.raises(ArgumentError, match=r"^samples=-1: expected at least 0"):
        describe(np.zeros((4, 4, 4), np.uint8), samples=-1)
    with pytest.raises(FileNotFoundError, match=r"nowhere': there is no such folder$"):
        describe(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"data.dataset='objects'"):
        describe(DataConfig(dataset="objects"))
