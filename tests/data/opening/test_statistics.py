"""Mean and deviation of bands, computed and kept. Oracle: numpy's mean and std in float64."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ssl_data import ArraySource
from ssl_data.opening.statistics import IMAGENET, _sample, statistics
from ssl_data.sources.lazy import StoredSource
from ssl_data.sources.source import value_range


class Files(StoredSource):
    """Images that are read one by one, as from files; ``sizes`` are their heights."""

    def __init__(self, kind=np.uint16, bands=5, count=12, key="a"):
        range_ = None if kind is np.uint8 else (0, 4095)
        super().__init__("files", np.zeros(count, np.int64), ["0"], "raise", 0.0, value_range=range_)
        random = np.random.default_rng(1)
        self.stored = [random.integers(0, 200, (6 + n % 3, 7, bands)).astype(kind) for n in range(count)]
        self.key, self.num_read = key, 0

    def fingerprint(self):
        return self.key

    def _read(self, position):
        self.num_read += 1
        return self.stored[position]

    def _describe(self, position):
        return f"file {position}"

    def expected(self):
        low, high = value_range(self, self.stored[0].dtype)
        pixels = np.concatenate([image.reshape(-1, image.shape[2]) for image in self.stored]).astype(np.float64)
        return (pixels.mean(0) - low) / (high - low), pixels.std(0) / (high - low)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ssl_data" / "statistics"


def assert_equal(found, expected):
    assert np.allclose(found, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("num_workers", [1, 3])
@pytest.mark.parametrize(
    ("kind", "range_"), [(np.uint8, None), (np.uint8, (0, 300)), (np.uint16, None), (np.float32, (-50.0, 400.0))]
)
def test_images_in_memory_equal_numpy(kind, range_, num_workers, monkeypatch):
    monkeypatch.setattr("ssl_data.opening.statistics._CHUNK", 1000)
    images = np.random.default_rng(0).normal(100, 20, (40, 7, 7, 13)).clip(0, 255).astype(kind)
    source = ArraySource(images, value_range=range_)
    low, high = value_range(source)
    scaled = (images.astype(np.float64) - low) / (high - low)
    assert_equal(statistics(source, num_workers), (scaled.mean((0, 1, 2)), scaled.std((0, 1, 2))))


def test_large_offset_loses_no_digits():
    images = np.random.default_rng(0).normal(1e6, 1, (20, 8, 8, 2)).astype(np.float32)
    _, std = statistics(ArraySource(images, value_range=(9e5, 1.1e6)))
    assert np.allclose(np.array(std) * 2e5, images.astype(np.float64).std((0, 1, 2)), rtol=1e-9)


def test_constant_band_is_only_centred():
    images = np.zeros((4, 8, 8, 2), np.uint16)
    images[..., 0], images[::2, ..., 1] = 500, 40
    mean, std = statistics(ArraySource(images))
    assert (mean[0], std[0]) == (500 / 65535, 1.0)
    assert_equal((mean[1], std[1]), (20 / 65535, 20 / 65535))


@pytest.mark.parametrize(("kind", "bands"), [(np.uint16, 3), (np.float32, 13), (np.uint8, 1), (np.uint8, 4)])
def test_files_are_read_once_and_kept(kind, bands, cache, caplog):
    caplog.set_level("INFO")
    first, again = Files(kind, bands), Files(kind, bands)
    found = statistics(first, 3)
    assert_equal(found, first.expected())
    assert f"mean and deviation of {bands} bands: computed from 12 of 12 training images" in caplog.text
    assert statistics(again, 1) == found  # bit by bit, also as JSON
    assert (first.num_read, again.num_read) == (13, 1)  # the first image shows type and bands
    (kept,) = cache.iterdir()
    assert str(kept) in caplog.text


def test_photographs_of_8_bits_have_the_numbers_of_imagenet():
    source = Files(np.uint8, 3)
    assert statistics(source) == IMAGENET
    assert source.num_read == 1
    source.value_range = (0, 254)
    assert_equal(statistics(source), source.expected())


def test_other_images_or_range_are_other_statistics(cache):
    statistics(Files())
    other, narrow = Files(key="b"), Files()
    narrow.value_range = (0, 1000)
    assert_equal(statistics(narrow), narrow.expected())
    statistics(other)
    assert other.num_read == 13
    assert len(list(cache.iterdir())) == 3


def test_images_without_a_fingerprint_are_not_kept(cache):
    statistics(Files(key=""))
    assert not cache.exists()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"mean": [1]}', '{"mean": [0, 0, 0, 0, 0], "std": [1, 1, 1, 1, 0]}',
                '{"mean": [0, 0, 0, 0, NaN], "std": [1, 1, 1, 1, 1]}', '{"mean": [0], "std": [1]}', "\x00"]
)  # fmt: skip
def test_damaged_files_are_computed_again(content, cache):
    found = statistics(Files())
    (kept,) = cache.iterdir()
    kept.write_text(content)
    source = Files()
    assert statistics(source) == found
    assert source.num_read == 13
    assert json.loads(kept.read_text())["mean"] == list(found[0])


def test_folder_that_cannot_be_written_is_no_error(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    source = Files()
    assert_equal(statistics(source), source.expected())
    assert "; not kept: " in caplog.text


def test_writing_at_once_leaves_a_whole_file(cache):
    """Threads of one process even share the name of the temporary file; ranks do not."""
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: statistics(Files()), range(64)))
    (path,) = cache.iterdir()
    assert {tuple(map(tuple, json.loads(path.read_text()).values()))} == found


def test_sample_of_many_images():
    """The sample depends on the number of images only, and is spread over all of them."""
    chosen = _sample(100_000)
    assert len(np.unique(chosen)) == len(chosen) == 10_000
    assert np.array_equal(chosen, _sample(100_000))
    assert np.all(np.bincount(chosen // 10_000) > 900)
    assert np.array_equal(_sample(10_000), np.arange(10_000))


def test_sample_is_what_is_read(monkeypatch):
    monkeypatch.setattr("ssl_data.opening.statistics.SAMPLED", 4)
    source = Files()
    found, chosen = statistics(source, 2), _sample(12)
    assert source.num_read == 5
    source.stored = [source.stored[position] for position in chosen]
    assert_equal(found, source.expected())


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((6, 7, 4), np.uint16), "sample 3 has 4 bands of uint16, the first has 5 of uint16"),
        (np.zeros((6, 7, 5), np.uint8), "sample 3 has 5 bands of uint8, the first has 5 of uint16"),
        (np.full((6, 7, 5), 5000, np.uint16), r"sample 3: the value 5000 in row 0, .* of value_range=\(0, 4095\)"),
    ],
)
def test_other_images_name_the_sample(image, message):
    source = Files()
    source.stored[3] = image
    with pytest.raises(ValueError, match=message):
        statistics(source, 2)


def test_no_home_is_no_error(monkeypatch, caplog):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("pathlib.Path.home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    source = Files()
    assert_equal(statistics(source), source.expected())
