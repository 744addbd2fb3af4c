"""FFCV's files. Without ffcv the tests that compare with it skip; where SSL_FFCV=1 requires it, they fail."""

import os
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_data import ArraySource, BetonSource, FolderSource, IndexedSource, Loader, Subset, ViewSpec, views, write_beton
from ssl_data.sources.beton.format import RAW, read_tables

needs_ffcv = pytest.mark.usefixtures("ffcv")


@pytest.fixture(scope="module")
def source():
    rng = np.random.default_rng(2)
    return ArraySource(rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8), np.arange(20) % 4)


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


@pytest.fixture(scope="module")
def jpeg_file(tmp_path_factory, photographs):
    """Return a file of 40 photographs as JPEG, twice their size, in four classes."""
    path = tmp_path_factory.mktemp("jpeg") / "jpeg.beton"
    larger = np.kron(photographs[:40], np.ones((1, 2, 2, 1), np.uint8))
    write_beton(ArraySource(larger, np.arange(40) % 4), path, mode="jpg")
    return path


@needs_ffcv
def test_jpeg_images_are_those_that_ffcv_itself_decodes(jpeg_file):
    """Oracle: FFCV's own loader and decoder, to the bit."""
    from ffcv.fields.decoders import IntDecoder, SimpleRGBImageDecoder
    from ffcv.loader import Loader as Theirs
    from ffcv.loader import OrderOption

    pipelines = {"image": [SimpleRGBImageDecoder()], "label": [IntDecoder()]}
    theirs = Theirs(str(jpeg_file), batch_size=40, num_workers=1, order=OrderOption.SEQUENTIAL, pipelines=pipelines)
    images, labels = next(iter(theirs))
    assert np.array_equal(BetonSource(jpeg_file).images, images)
    assert np.array_equal(BetonSource(jpeg_file).labels, np.asarray(labels).ravel())
    streamed = BetonSource(jpeg_file, memory=0)
    assert streamed.images is None
    assert all(np.array_equal(streamed.image(position), images[position]) for position in range(40))


def test_workers_and_ranks_do_not_change_decoded_pixels(jpeg_file):
    def global_batches(world_size, num_workers):
        options = {
            "views": views("simclr", size=24),
            "batch_size": 8,
            "num_workers": num_workers,
            "world_size": world_size,
        }
        ranks = [Loader(BetonSource(jpeg_file, memory=0), rank=rank, **options) for rank in range(world_size)]
        for step in zip(*ranks, strict=True):
            yield [torch.cat(parts) for parts in zip(*(batch[0] for batch in step))], torch.cat([b[2] for b in step])

    alone = list(global_batches(1, 1))
    assert len(alone) == 5
    for world_size, num_workers in ((1, 3), (2, 1), (4, 2)):
        for (ours, ids), (theirs, their_ids) in zip(alone, global_batches(world_size, num_workers), strict=True):
            assert torch.equal(ids, their_ids)
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def resident():
    """Return the memory of this process, in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="how much memory a process has is read from /proc")
def test_hundreds_of_epochs_leak_neither_threads_nor_memory(jpeg_file):
    """Each epoch has new threads, every other one ends early. FFCV's own decoding leaks 10 kB with each thread."""
    loader = Loader(BetonSource(jpeg_file, memory=0), views("supervised", size=8), batch_size=20, num_workers=4)

    def epochs(number):
        for epoch in range(number):
            for _ in loader:
                if epoch % 2:
                    break

    epochs(50)
    threads, before = threading.active_count(), resident()
    epochs(300)  # 1,200 threads
    assert threading.active_count() == threads
    assert resident() - before < 4e6


def test_batch_that_is_held_is_never_overwritten(jpeg_file):
    """FFCV's own loader hands out its ring of buffers."""
    loader = Loader(BetonSource(jpeg_file, memory=0), views("simclr", size=16), batch_size=4, num_workers=2)
    held = list(loader)
    kept = [batch[0][1].clone() for batch in held]
    for _ in range(2):
        for _ in loader:
            pass
    assert all(torch.equal(batch[0][1], copy) for batch, copy in zip(held, kept, strict=True))


def damage(path, position, kind):
    """Overwrite or empty the JPEG of one sample."""
    source = BetonSource(path, memory=0)
    start, size = int(source._starts[position]), int(source._sizes[position])
    with open(path, "r+b") as file:
        file.seek(start + (size // 2 if kind == "truncated" else 0))
        file.write(b"\0" * (size - size // 2))


@pytest.mark.parametrize("kind", ["truncated", "no image"])
def test_damaged_sample_is_named_or_replaced(jpeg_file, tmp_path, kind):
    path = tmp_path / "damaged.beton"
    path.write_bytes(jpeg_file.read_bytes())
    damage(path, 5, kind)
    with pytest.raises(ValueError, match=r"sample 5, byte \d+ of '.*damaged.beton', cannot be read: .*on_error=skip"):
        BetonSource(path)
    source, whole = BetonSource(path, on_error="skip", memory=0), BetonSource(jpeg_file)
    assert np.array_equal(source.image(5), whole.image(9))  # the next of class 1
    assert source.skipped == {5}


def test_damage_anywhere_is_an_error_of_ours_or_other_pixels(tmp_path, photographs):
    """Bytes of the header, the tables and the images are changed at random: nothing hangs, crashes or raises another error."""
    rng, path = np.random.default_rng(0), tmp_path / "damaged.beton"
    write_beton(ArraySource(photographs[:8], np.arange(8)), path, mode="jpg", page_size=2**21)
    whole, source = path.read_bytes(), BetonSource(path, memory=0)
    images = (int(source._starts[0]), int(source._starts[-1] + source._sizes[-1]))
    messages = []
    for begin, end in 20 * [(0, 24), (24, 2100), (2100, 2400), images, (len(whole) - 8 * 24, len(whole))]:
        damaged = bytearray(whole)
        for place in rng.integers(begin, end, 5):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            opened = BetonSource(path, memory=0)
            for position in range(len(opened)):
                opened.image(position)
                opened.shrunk(position, 4)
        except ValueError as error:
            messages.append(str(error))
    assert 20 < len(messages) < 80
    assert all("damaged.beton" in message for message in messages)


def test_table_that_points_out_of_the_file_is_an_error(source, tmp_path):
    path = tmp_path / "table.beton"
    write_beton(source, path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-8] + (10**9).to_bytes(8, "little"))  # the file ends with the size of the last sample
    with pytest.raises(ValueError, match=r"1 of 20 samples lie outside of it, the first is sample 19; write it again"):
        BetonSource(path)


@pytest.mark.parametrize("left", [0, 10, 3000, 0.5, 0.999])
def test_file_that_is_cut_off_is_an_error(jpeg_file, tmp_path, left):
    path, whole = tmp_path / "short.beton", jpeg_file.read_bytes()
    path.write_bytes(whole[: int(left * len(whole)) if left < 1 else left])
    with pytest.raises(ValueError, match=r"short.beton': (it is not a .beton file|the file is damaged or cut off)"):
        BetonSource(path)


@pytest.fixture(scope="module")
def large_photographs(tmp_path_factory):
    """Return a file of six real photographs as they come, 400 pixels and more."""
    archive = Path(__file__).parents[3].parent / "shared" / "data" / "imagenet-sample.tar"
    if not archive.exists():
        pytest.skip("the ImageNet photographs are not beside the checkout")
    folder = tmp_path_factory.mktemp("large")
    with tarfile.open(archive) as tar:
        names = [member for member in tar if member.isfile()][:6]
        tar.extractall(folder, members=[member.replace(name=Path(member.name).name) for member in names], filter="data")
    write_beton(FolderSource(folder, memory=0), folder / "large.beton", mode="jpg")
    return folder / "large.beton"


def one_batch(path, specs, scaled, **options):
    source = BetonSource(path, memory=0, scaled_decoding=scaled)
    loader = Loader(source, specs, batch_size=6, **{"shuffle": False, "num_workers": 1, **options})
    return next(iter(loader))[0]


def test_scaled_decoding_moves_pixels_by_a_few_grey_levels(large_photographs):
    """Oracle: the whole image, averaged in blocks, and shrunk as torchvision does it."""
    source = BetonSource(large_photographs, memory=0)
    whole, half = source.image(0).astype(float), source.shrunk(0, 2).astype(float)
    rows, columns = whole.shape[0] // 2, whole.shape[1] // 2
    blocks = whole[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2, 3).mean((1, 3))
    assert np.abs(half[:rows, :columns] - blocks).mean() < 2
    assert np.abs(half[1:rows, :columns] - blocks[:-1]).mean() > 4  # a pixel beside it would be seen
    crop = ViewSpec(size=64, crop_scale=(0.5, 1.0), crop_ratio=(3 / 4, 4 / 3), flip=0.5)
    full, scaled = (one_batch(large_photographs, [crop], flag)[0] for flag in (False, True))
    difference = 255 * (full - scaled).abs()
    assert (difference.amax((1, 2, 3)) > 0).all()
    assert difference.mean() < 4


def test_scaled_decoding_stops_at_the_largest_view(large_photographs):
    """Views that need all pixels get them, and what else there is of the sample as well."""
    crop = ViewSpec(size=64, crop_scale=(0.5, 1.0), crop_ratio=(3 / 4, 4 / 3))
    large = ViewSpec(size=400, crop_scale=(0.5, 1.0), crop_ratio=(3 / 4, 4 / 3))
    whole, scaled = (one_batch(large_photographs, [crop, large], flag) for flag in (False, True))
    assert all(torch.equal(a, b) for a, b in zip(whole, scaled))


def test_scaled_decoding_depends_on_the_sample_alone(large_photographs, tmp_path):
    specs = views("dino", size=96)
    expected = one_batch(large_photographs, specs, True)
    source = Subset(BetonSource(large_photographs, memory=0, scaled_decoding=True), np.array([5, 3, 1]))
    few = next(iter(Loader(source, specs, batch_size=3, shuffle=False, num_workers=2)))[0]
    assert all(torch.equal(view, all_of_them[[5, 3, 1]]) for view, all_of_them in zip(few, expected, strict=True))
    path = tmp_path / "damaged.beton"
    path.write_bytes(large_photographs.read_bytes())
    damage(path, 2, "truncated")
    skipping = BetonSource(path, on_error="skip", memory=0, scaled_decoding=True)
    views_of_other = next(iter(Loader(skipping, specs, batch_size=6, shuffle=False, num_workers=2)))[0]
    assert skipping.skipped == {2}
    others = [0, 1, 3, 4, 5]
    assert all(torch.equal(a[others], b[others]) for a, b in zip(views_of_other, expected, strict=True))
    whole = BetonSource(large_photographs, memory=0)
    assert whole.size(2) != whole.size(3)  # so that the crops of 2 would not fit
    stand_in = IndexedSource([whole.image(position) for position in (0, 1, 3, 3, 4, 5)], memory=0)
    as_if = next(iter(Loader(stand_in, specs, batch_size=6, shuffle=False, num_workers=1)))[0]
    assert all(torch.equal(a[2], b[2]) for a, b in zip(views_of_other, as_if, strict=True))


def test_another_version_of_the_format_is_an_error(source, tmp_path):
    path = tmp_path / "old.beton"
    write_beton(source, path)
    path.write_bytes(b"\1\0" + path.read_bytes()[2:])  # the header begins with the version
    with pytest.raises(ValueError, match=r"old.beton': it is not a .beton file of version 2 \(its version: 1\)"):
        BetonSource(path)


@needs_ffcv
def test_tables_are_those_that_ffcv_itself_reads(jpeg_file, tmp_path):
    """Oracle: FFCV's own reader, and its writer with other fields beside the image."""
    from ffcv.fields import BytesField, FloatField, IntField, JSONField, NDArrayField, RGBImageField
    from ffcv.reader import Reader
    from ffcv.writer import DatasetWriter

    ours, theirs = read_tables(jpeg_file), Reader(str(jpeg_file))
    for name, their_name in (("mode", "mode"), ("width", "width"), ("height", "height"), ("start", "data_ptr")):
        assert np.array_equal(ours.images[name], theirs.metadata["f0"][their_name])
    assert np.array_equal(ours.labels, theirs.metadata["f1"].view("<i8").ravel())
    assert ours.allocations.tobytes() == theirs.alloc_table.tobytes()

    images = np.random.default_rng(0).integers(0, 256, (5, 9, 7, 3), dtype=np.uint8)
    fields = {
        "score": FloatField(), "text": JSONField(), "blob": BytesField(), "vector": NDArrayField(np.dtype("f4"), (3,)),
        "picture": RGBImageField(), "kind": IntField(),
    }  # fmt: skip
    samples = [
        (0.5 * i, {"i": i}, np.arange(4, dtype=np.uint8), np.ones(3, np.float32), image, 7 - i)
        for i, image in enumerate(images)
    ]
    writer = DatasetWriter(str(tmp_path / "many.beton"), fields, num_workers=1)
    writer.from_indexed_dataset(samples)
    source = BetonSource(tmp_path / "many.beton")
    assert np.array_equal(source.images, images)
    assert source.labels.tolist() == [7, 6, 5, 4, 3]


@needs_ffcv
def test_file_of_ffcv_with_raw_and_jpeg_images_is_read(tmp_path, photographs):
    """Oracle: FFCV's writer, which stores about half of the images as JPEG, and its loader."""
    from ffcv.fields import IntField, RGBImageField
    from ffcv.fields.decoders import IntDecoder, SimpleRGBImageDecoder
    from ffcv.loader import Loader as Theirs
    from ffcv.writer import DatasetWriter

    path, images = tmp_path / "theirs.beton", photographs[:40]
    fields = {"image": RGBImageField(write_mode="proportion", compress_probability=0.5), "label": IntField()}
    DatasetWriter(str(path), fields, num_workers=1).from_indexed_dataset(
        [(image, 3 * i) for i, image in enumerate(images)]
    )
    source, raw = BetonSource(path), read_tables(path).images["mode"] == RAW
    assert 0 < raw.sum() < 40
    assert np.array_equal(source.images[raw], images[raw])
    assert source.labels.tolist() == list(range(0, 120, 3))
    pipelines = {"image": [SimpleRGBImageDecoder()], "label": [IntDecoder()]}
    decoded, labels = next(iter(Theirs(str(path), batch_size=40, num_workers=1, pipelines=pipelines)))
    assert np.array_equal(source.images, decoded)
    assert np.array_equal(source.labels, np.asarray(labels).ravel())


def test_invalid_files_are_named(tmp_path, source):
    with pytest.raises(FileNotFoundError, match="no such file"):
        BetonSource(tmp_path / "nowhere.beton")
    (tmp_path / "text.beton").write_text("these are not the bytes of a data set" * 10)
    with pytest.raises(ValueError, match=r"text.beton': it is not a .beton file of version 2"):
        BetonSource(tmp_path / "text.beton")
    with pytest.raises(ValueError, match="expected 'raw' or 'jpg'"):
        write_beton(source, tmp_path / "x.beton", mode="png")


def test_ffcv_is_neither_needed_nor_imported(tmp_path, source):
    """Its import compiles for seconds."""
    code = (
        "import sys; sys.modules['ffcv'] = None; import ssl_data; print(ssl_data.BetonSource(sys.argv[1]).images.shape)"
    )
    for mode in ("raw", "jpg"):
        path = tmp_path / f"{mode}.beton"
        write_beton(source, path, mode=mode)
        result = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True)
        assert result.stdout == "(20, 32, 32, 3)\n"
