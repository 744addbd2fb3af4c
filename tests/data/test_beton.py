"""FFCV's files. Without ffcv these tests skip; where SSL_FFCV=1 says that it must be there, they fail."""

import importlib.util
import os
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_data import ArraySource, BetonSource, FolderSource, Loader, views, write_beton

HERE = importlib.util.find_spec("ffcv") is not None
needs_ffcv = pytest.mark.skipif(
    not HERE and os.environ.get("SSL_FFCV") != "1", reason="ffcv is not installed (SSL_FFCV=1 requires it)"
)


@pytest.fixture(scope="module")
def source():
    rng = np.random.default_rng(2)
    return ArraySource(rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8), np.arange(20) % 4)


@needs_ffcv
def test_raw_images_come_back_to_the_bit_and_give_the_same_views(tmp_path, source):
    write_beton(source, tmp_path / "raw.beton")
    beton = BetonSource(tmp_path / "raw.beton")
    assert np.array_equal(beton.images, source.images)
    assert beton.labels.tolist() == source.labels.tolist()
    options = {"views": views("simclr", size=32), "batch_size": 10, "num_workers": 2}
    for ours, theirs in zip(Loader(beton, **options), Loader(source, **options)):
        assert all(torch.equal(a, b) for a, b in zip((*ours[0], *ours[1:]), (*theirs[0], *theirs[1:])))


@needs_ffcv
def test_raw_images_are_those_that_ffcv_itself_reads(tmp_path, source):
    """Oracle: FFCV's own loader and decoder."""
    from ffcv.fields.decoders import IntDecoder, SimpleRGBImageDecoder
    from ffcv.loader import Loader as Theirs
    from ffcv.loader import OrderOption

    write_beton(source, tmp_path / "raw.beton")
    pipelines = {"image": [SimpleRGBImageDecoder()], "label": [IntDecoder()]}
    theirs = Theirs(
        str(tmp_path / "raw.beton"), batch_size=20, num_workers=1, order=OrderOption.SEQUENTIAL, pipelines=pipelines
    )
    images, labels = next(iter(theirs))
    assert np.array_equal(BetonSource(tmp_path / "raw.beton").images, images)
    assert np.array_equal(source.labels, np.asarray(labels).ravel())


@needs_ffcv
def test_photographs_of_any_size_are_decoded_as_pil_does(tmp_path, photographs):
    """Oracle: PIL, on the same JPEG bytes; two decoders may differ by the rounding of the inverse transform."""
    folder = tmp_path / "images" / "a"
    folder.mkdir(parents=True)
    for number in range(6):
        Image.fromarray(np.kron(photographs[number], np.ones((2, 3 + number, 1), np.uint8))).save(
            folder / f"{number}.png"
        )
    stored = FolderSource(tmp_path / "images")
    write_beton(stored, tmp_path / "photographs.beton", mode="jpg", quality=95)
    beton = BetonSource(tmp_path / "photographs.beton")
    assert beton.images is None
    for position in range(len(stored)):
        difference = np.abs(beton.image(position).astype(int) - stored.image(position).astype(int))
        assert difference.mean() < 6  # what the compression loses


@needs_ffcv
def test_early_breaks_leak_no_threads(tmp_path, source):
    write_beton(source, tmp_path / "raw.beton")
    beton = BetonSource(tmp_path / "raw.beton", memory=0)
    before = threading.active_count()
    for _ in range(20):
        for _ in Loader(beton, views("simclr", size=32), batch_size=5, num_workers=2):
            break
    assert threading.active_count() <= before  # FFCV's writer may still have had one


@needs_ffcv
def test_files_that_are_none_are_named(tmp_path, source):
    with pytest.raises(FileNotFoundError, match="no such file"):
        BetonSource(tmp_path / "nowhere.beton")
    (tmp_path / "text.beton").write_text("these are not the bytes of a data set" * 10)
    with pytest.raises(ValueError, match=r"text.beton': it is no .beton file of this version"):
        BetonSource(tmp_path / "text.beton")
    with pytest.raises(ValueError, match="expected 'raw' or 'jpg'"):
        write_beton(source, tmp_path / "x.beton", mode="png")


@pytest.mark.skipif(HERE, reason="ffcv is installed")
def test_without_ffcv_the_error_says_how_to_install_it(tmp_path, source):
    with pytest.raises(ImportError, match="libturbojpeg0-dev"):
        write_beton(source, tmp_path / "x.beton")
