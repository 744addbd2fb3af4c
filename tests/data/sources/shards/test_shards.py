"""WebDataset shards by position. Oracle: webdataset, which writes the shards and reads them from the beginning."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_data import DataConfig, FolderSource, Loader, ShardSource, views, write_beton
from ssl_data.cli import main
from ssl_data.sources.shards.shard_index import ShardIndex

wds = pytest.importorskip("webdataset")

M = 24


def picture(number, extension="jpg"):
    image = np.random.default_rng(number).integers(0, 256, (20, 12 + number % 3, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).save(file, {"jpg": "JPEG", "png": "PNG"}[extension])
    return file.getvalue()


def write(folder, label=lambda number: {"cls": number % 4}, extension="jpg", name="train"):
    pattern = str(folder / f"{name}-%06d.tar")
    with wds.ShardWriter(pattern, maxcount=10, verbose=0) as writer:
        for number in range(M):
            writer.write(
                {"__key__": f"n{number % 4}/{number:04}", extension: picture(number, extension), **label(number)}
            )
    return f"{folder}/{name}-{{000000..000002}}.tar"


def test_samples_are_those_that_webdataset_reads(tmp_path):
    shards = write(tmp_path)
    source = ShardSource(shards, memory=0)
    read = list(wds.WebDataset(shards, shardshuffle=False).decode("pil").to_tuple("__key__", "jpg", "cls"))
    assert len(source) == len(read) == M
    for position in (*range(M - 1, -1, -1), 7):  # any order
        key, image, label = read[position]
        assert np.array_equal(source.image(position), np.asarray(image))
        assert source.labels[position] == label
        assert key in source._describe(position)
    assert source.class_names == ["0", "1", "2", "3"]
    assert source.ids.tolist() == list(range(M))


def test_batches_equal_those_of_a_folder(tmp_path):
    """Oracle: FolderSource, with the same files in the same order."""
    for number in range(M):
        (tmp_path / f"{number % 4}").mkdir(exist_ok=True)
        (tmp_path / f"{number % 4}" / f"{number:04}.jpg").write_bytes(picture(number))
    folder = FolderSource(tmp_path, memory=0)
    with wds.TarWriter(str(tmp_path / "all.tar")) as writer:
        for position, path in enumerate(map(Path, folder.paths)):
            writer.write({"__key__": path.stem, "jpg": path.read_bytes(), "cls": int(folder.labels[position])})
    sources = folder, ShardSource(tmp_path / "all.tar", memory=0)
    loaders = [Loader(source, views("simclr", size=16), 8, num_workers=2) for source in sources]
    for (ours, labels, ids), (expected, *rest) in zip(*loaders, strict=True):
        assert all((a == b).all() for a, b in zip((*ours, labels, ids), (*expected, *rest), strict=True))


def test_labels_are_read_once_and_without_images(tmp_path, monkeypatch):
    shards = write(tmp_path)
    first = ShardSource(shards, memory=0)
    assert len(list(tmp_path.glob("*.index.npz"))) == 3
    monkeypatch.setattr(ShardIndex, "_listed", None)  # the second time nothing is listed
    second = ShardSource(shards, memory=0)
    assert np.array_equal(first.labels, second.labels)
    assert np.array_equal(first.image(17), second.image(17))
    assert first.fingerprint() == second.fingerprint()


def test_changed_shard_is_listed_again(tmp_path):
    shards = write(tmp_path)
    before = ShardSource(shards, memory=0)
    fingerprint = before.fingerprint()
    write(tmp_path, lambda number: {"cls": 3 - number % 4, "json": "{}"})
    after = ShardSource(shards, memory=0)
    assert (after.labels == 3 - before.labels).all()
    assert fingerprint != after.fingerprint()
    index = tmp_path / "train-000000.tar.index.npz"
    for damaged in (b"damaged", index.read_bytes()[:200]):
        index.write_bytes(damaged)
        assert np.array_equal(ShardSource(shards, memory=0).labels, after.labels)


def test_names_as_labels_and_no_labels(tmp_path):
    named = ShardSource(write(tmp_path, lambda number: {"cls": "dog" if number % 2 else "cat"}), memory=0)
    assert named.class_names == ["cat", "dog"]
    assert named.labels.tolist() == [0, 1] * (M // 2)
    ordered = ShardSource(sorted(map(str, tmp_path.glob("*.tar"))), memory=0, class_names=["dog", "cat"])
    assert (ordered.class_names, ordered.labels.tolist()) == (["dog", "cat"], [1, 0] * (M // 2))
    plain = ShardSource(sorted(map(str, tmp_path.glob("*.tar"))), memory=0, label=None)
    assert plain.labels.tolist() == named.labels.tolist()
    none = ShardSource(write(tmp_path, lambda number: {"json": "{}"}, "png", "other"))
    assert (none.labels == -1).all()
    assert none.class_names == []
    by_glob = ShardSource(tmp_path / "other-*.tar", image="png", memory=0)
    assert np.array_equal(by_glob.image(3), np.asarray(Image.open(io.BytesIO(picture(3, "png")))))


def test_sample_without_label_keeps_the_numbers_of_others(tmp_path):
    source = ShardSource(write(tmp_path, lambda number: {"cls": str(number % 12) if number else ""}), memory=0)
    assert source.labels.tolist() == [-1, *(number % 12 for number in range(1, M))]
    assert source.class_names == [str(number) for number in range(12)]


def test_run_configuration_takes_shards(tmp_path):
    shards = write(tmp_path)
    loaders = DataConfig.of(train=shards, test=shards, size=16).open(8, 0)
    images, labels, ids = next(iter(loaders.train))
    assert images[0].shape == (8, 3, 16, 16)
    assert labels.tolist() == (ids % 4).tolist()
    assert loaders.num_classes == 4
    assert len(DataConfig.of(train=shards, size=16, per_class=2).open(4, 0).train.labels) == 8


def test_jpeg_files_are_copied_into_a_beton_file(tmp_path, capsys):
    source = ShardSource(write(tmp_path), memory=0)
    write_beton(source, tmp_path / "a.beton", mode="jpg", num_workers=1)
    main(["write-beton", str(tmp_path / "train-*.tar"), str(tmp_path / "b.beton"), "--quiet"])
    for name in ("a.beton", "b.beton"):
        written = (tmp_path / name).read_bytes()
        assert all(picture(number) in written for number in range(M))


def damaged(folder):
    path = folder / "cut.tar"
    path.write_bytes((folder / "train-000000.tar").read_bytes()[:9000])
    return path


def compressed(folder):
    with tarfile.open(folder / "small.tar", "w:gz") as archive:
        archive.add(folder / "train-000000.tar", "a.jpg")
    return folder / "small.tar"


def without_image(folder):
    with wds.TarWriter(str(folder / "no.tar")) as writer:
        writer.write({"__key__": "a", "jpg": picture(0), "cls": 0})
        writer.write({"__key__": "b", "cls": 0})
    return folder / "no.tar"


def other(folder):
    with wds.TarWriter(str(folder / "text.tar")) as writer:
        writer.write({"__key__": "a", "txt": "words", "cls": 0})
    return folder / "text.tar"


@pytest.mark.parametrize(
    ("shards", "error", "message"),
    [
        (lambda folder: folder / "train-{000000..000003}.tar", FileNotFoundError, r"train-000003.tar' is missing \(1 of 4\)"),
        (lambda folder: folder / "val-*.tar", FileNotFoundError, r"shards='.*val-\*.tar': there is no shard"),
        (damaged, ValueError, "cut.tar': it is damaged, or no plain tar file"),
        (compressed, ValueError, "small.tar': .*can only be streamed"),
        (without_image, ValueError, "no.tar': the sample 'b' has no '.jpg', it has .cls"),
        (other, ValueError, r"text.tar': the sample 'a' has no image .* it has .cls, .txt; pass image=EXTENSION"),
    ],
    ids=["missing", "none", "damaged", "compressed", "sample without image", "no image"],
)  # fmt: skip
def test_invalid_shards_name_what_was_found(shards, error, message, tmp_path):
    write(tmp_path)
    with pytest.raises(error, match=message):
        ShardSource(shards(tmp_path), memory=0)


def test_unreadable_image_names_sample_and_shard(tmp_path):
    with wds.TarWriter(str(tmp_path / "bad.tar")) as writer:
        for number in range(4):
            writer.write({"__key__": f"k{number}", "jpg": picture(number)[: 50 if number == 2 else None], "cls": 0})
    source = ShardSource(tmp_path / "bad.tar", memory=0)
    with pytest.raises(ValueError, match=r"sample 2, 'k2' in '.*bad.tar', cannot be read"):
        source.image(2)
    skipping = ShardSource(tmp_path / "bad.tar", memory=0, on_error="skip")
    assert np.array_equal(skipping.image(2), source.image(3))


def test_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "webdataset.shardlists", None)
    with pytest.raises(ValueError, match=r"pip install 'ssl-data\[webdataset\]'"):
        ShardSource("train-{0..3}.tar")
