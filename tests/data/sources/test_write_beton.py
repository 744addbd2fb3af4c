"""Writing FFCV's files, by function and by command. Oracle: FFCV's own loader."""

import importlib
import os
import pickle
import re
import resource
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_data import ArraySource, BetonSource, FolderSource, write_beton
from ssl_data.cli import main

needs_ffcv = pytest.mark.usefixtures("ffcv")
PAGE = 2**21  # bytes, the smallest


@pytest.fixture
def source(noise):
    return ArraySource(noise, np.arange(len(noise)) % 3)


@needs_ffcv
@pytest.mark.parametrize("os_cache", [True, False])
def test_ffcv_reads_files_of_many_pages_in_any_order(tmp_path, os_cache):
    from ffcv.fields.decoders import IntDecoder, SimpleRGBImageDecoder
    from ffcv.loader import Loader as Theirs
    from ffcv.loader import OrderOption

    # 7 a page, the rest is padding
    images = np.random.default_rng(0).integers(0, 256, (30, 320, 300, 3), dtype=np.uint8)
    write_beton(ArraySource(images, np.arange(30)), tmp_path / "pages.beton", num_workers=3, page_size=PAGE)
    pipelines = {"image": [SimpleRGBImageDecoder()], "label": [IntDecoder()]}
    options = {"batch_size": 10, "num_workers": 1, "order": OrderOption.RANDOM, "seed": 0, "os_cache": os_cache}
    seen = []
    for batch, labels in Theirs(str(tmp_path / "pages.beton"), pipelines=pipelines, **options):
        numbers = np.asarray(labels).ravel()
        assert np.array_equal(batch, images[numbers])
        seen += numbers.tolist()
    assert sorted(seen) == list(range(30))
    assert np.array_equal(BetonSource(tmp_path / "pages.beton").images, images)


def test_grey_images_are_repeated_and_missing_labels_kept(tmp_path, noise):
    write_beton(ArraySource(noise[..., :1]), tmp_path / "grey.beton")
    written = BetonSource(tmp_path / "grey.beton")
    assert np.array_equal(written.images, np.repeat(noise[..., :1], 3, axis=3))
    assert written.labels.tolist() == [-1] * len(noise)


def test_upright_jpeg_files_in_colour_are_stored_unchanged(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    smooth = np.add.outer(np.arange(40), 2 * np.arange(32))[..., None] + np.array([0, 50, 100])
    picture, turned = Image.fromarray(smooth.astype(np.uint8)), Image.Exif()
    turned[0x0112] = 6
    picture.save(folder / "0.jpg", quality=70)
    picture.save(folder / "1.jpg", exif=turned, quality=99)
    picture.convert("CMYK").save(folder / "2.jpg", quality=99)
    picture.save(folder / "3.png")
    source = FolderSource(tmp_path)
    write_beton(source, tmp_path / "x.beton", mode="jpg", quality=99)
    written = BetonSource(tmp_path / "x.beton", memory=0)
    start, size = int(written._starts[0]), int(written._sizes[0])
    assert written._bytes[start : start + size].tobytes() == (folder / "0.jpg").read_bytes()
    for position in range(4):
        expected = source.image(position).astype(int)
        assert written.image(position).shape == expected.shape
        assert np.abs(written.image(position) - expected).mean() < 2, position


def test_sample_that_no_page_holds_is_named(tmp_path):
    large = ArraySource(np.zeros((2, 900, 900, 3), np.uint8))
    with pytest.raises(
        ValueError, match=r"sample 0 takes 2,430,000 bytes, a page of the file 2,097,152: set page_size"
    ):
        write_beton(large, tmp_path / "x.beton", page_size=PAGE)
    assert not list(tmp_path.iterdir())
    write_beton(large, tmp_path / "x.beton", page_size=2 * PAGE)


@pytest.mark.parametrize("nameless", [True, False])
def test_error_leaves_what_was_there(tmp_path, source, monkeypatch, nameless):
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    path = tmp_path / "out" / "x.beton"
    path.parent.mkdir()
    write_beton(source, path)
    before = path.read_bytes()

    class Failing(ArraySource):
        def image(self, position):
            if position == 7:
                raise ValueError("sample 7 cannot be read")
            return super().image(position)

    with pytest.raises(ValueError, match="sample 7 cannot be read"):
        write_beton(Failing(source.images, source.labels), path)
    assert [entry.name for entry in path.parent.iterdir()] == ["x.beton"]
    assert path.read_bytes() == before
    write_beton(ArraySource(source.images[:5]), path)
    assert len(BetonSource(path)) == 5
    assert [entry.name for entry in path.parent.iterdir()] == ["x.beton"]


def large_archive(tmp_path):
    """Return a source whose conversion takes a few seconds."""
    np.savez(tmp_path / "large.npz", images=np.zeros((40_000, 32, 32, 3), np.uint8), labels=np.arange(40_000) % 10)
    return str(tmp_path / "large.npz")


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="elsewhere a file with a dot before its name stays")
def test_killed_in_the_middle_it_leaves_nothing_behind(tmp_path):
    (tmp_path / "out").mkdir()
    command = [
        sys.executable,
        "-m",
        "ssl_data",
        "write-beton",
        large_archive(tmp_path),
        str(tmp_path / "out" / "x.beton"),
    ]
    with subprocess.Popen([*command, "--mode", "jpg"], stderr=subprocess.PIPE) as process:
        shown = b""
        while b"%" not in shown or b" 0%" in shown[-100:]:  # until the bar has moved
            piece = process.stderr.read1(1000)
            assert piece, shown
            shown = shown + piece if b"%" not in piece else piece
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert list((tmp_path / "out").iterdir()) == []


def test_full_disk_is_reported_and_leaves_nothing(tmp_path, noise):
    """A limit on the size of files stands for the disk's: the system refuses to write in the same way."""
    (tmp_path / "out").mkdir()
    np.savez(tmp_path / "x.npz", images=np.repeat(noise, 200, axis=0))  # 15 MB, behind a page of headers
    command = [
        sys.executable,
        "-m",
        "ssl_data",
        "write-beton",
        str(tmp_path / "x.npz"),
        str(tmp_path / "out" / "x.beton"),
    ]
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (12_000_000, 12_000_000))  # noqa: E731
    result = subprocess.run([*command, "--quiet"], preexec_fn=limit, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "after 9" in result.stderr or "after 1,0" in result.stderr, result.stderr
    assert "of 4,000 samples" in result.stderr
    assert "all would take about" in result.stderr
    assert "nothing was left behind" in result.stderr
    assert "Traceback" not in result.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_command_converts_folders_archives_data_sets_and_files(tmp_path, source, noise, capfd):
    folder = tmp_path / "folder" / "cat"
    folder.mkdir(parents=True)
    for number in range(4):
        Image.fromarray(noise[number]).save(folder / f"{number}.png")
    np.savez(tmp_path / "x.npz", images=noise, labels=np.arange(len(noise)))
    write_beton(source, tmp_path / "x.beton")
    out = str(tmp_path / "out.beton")
    for name, count in (
        (tmp_path / "folder", 4),
        (tmp_path / "x.npz", 20),
        (tmp_path / "x.beton", 20),
        ("digits:test", 364),
    ):
        assert main(["write-beton", str(name), out, "--mode", "raw"]) == 0
        assert len(BetonSource(out)) == count
        shown = capfd.readouterr()
        assert f"{count} images as raw" in shown.out
        assert "100%" in shown.err
    main(["write-beton", str(tmp_path / "x.npz"), out, "--quiet"])
    assert np.array_equal(BetonSource(out).images, noise)
    assert capfd.readouterr().err == ""
    (folder / "1.png").write_bytes(b"")
    assert main(["write-beton", str(tmp_path / "folder"), out]) == 1
    error = capfd.readouterr().err
    assert "sample 1, " in error
    assert error.endswith("; repair or remove it, or set --on-error skip\n")
    assert main(["write-beton", str(tmp_path / "folder"), out, "--on-error", "skip", "--quiet"]) == 0
    assert "1 of them replaced" in capfd.readouterr().out


def test_command_is_named_ssl_data():
    project = tomllib.loads((Path(__file__).parents[3] / "packages" / "ssl-data" / "pyproject.toml").read_text())[
        "project"
    ]
    module, _, function = project["scripts"]["ssl-data"].partition(":")
    assert getattr(importlib.import_module(module), function) is main


def test_command_names_what_it_cannot_read(tmp_path, capsys):
    for name, message in (
        ("nowhere", "SOURCE='nowhere': expected a folder"),
        (str(tmp_path), "no class folder and no image in it"),
        ("no.beton", "there is no such file"),
        ("digits:extra", "data.split='extra'"),
    ):
        assert main(["write-beton", name, str(tmp_path / "x.beton")]) == 1
        assert message in capsys.readouterr().err
    assert main(["write-beton", "digits", str(tmp_path / "no" / "folder.beton")]) == 1
    assert "No such file or directory" in capsys.readouterr().err


def test_parts_of_a_data_set_are_not_written_as_classes(tmp_path, noise, capsys):
    for part in ("train", "test"):
        (tmp_path / part / "cat").mkdir(parents=True)
        Image.fromarray(noise[0]).save(tmp_path / part / "cat" / "0.png")
    target = tmp_path / "x.beton"
    assert main(["write-beton", str(tmp_path), str(target), "--quiet"]) == 1
    assert "found the parts of a data set (test, train); choose one of them" in capsys.readouterr().err
    assert not target.exists()
    assert main(["write-beton", str(tmp_path / "train"), str(target), "--quiet", "--mode", "raw"]) == 0


def test_labels_with_a_fraction_are_not_written(tmp_path, source):
    source.labels = source.labels + 0.5
    with pytest.raises(ValueError, match=r"labels: sample 0 has the label 0\.5"):
        write_beton(source, tmp_path / "x.beton")
    assert not (tmp_path / "x.beton").exists()


def test_archive_with_a_pickle_raises_unread(tmp_path, capsys):
    class Attack:
        def __reduce__(self):
            return open, (str(tmp_path / "it ran"), "w")

    np.savez(tmp_path / "x.npz", images=np.array([Attack()], dtype=object))
    assert main(["write-beton", str(tmp_path / "x.npz"), str(tmp_path / "x.beton")]) == 1
    assert "allow_pickle=False" in capsys.readouterr().err
    assert not (tmp_path / "it ran").exists()
    pickle.loads(pickle.dumps(Attack())).close()  # the attack is one
    assert (tmp_path / "it ran").exists()


@pytest.mark.parametrize("mode", ["raw", "jpg"])
@pytest.mark.parametrize(("kind", "bands"), [(np.uint8, 4), (np.uint16, 3), (np.float32, 13)])
def test_other_bands_and_types_raise(kind, bands, mode, tmp_path):
    with pytest.raises(
        ValueError, match=f"^sample 0 has {bands} bands of {np.dtype(kind)}; the images of a .beton file"
    ):
        write_beton(ArraySource(np.zeros((4, 8, 8, bands), kind)), tmp_path / "bands.beton", mode=mode)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_damaged_npz_is_one_line(tmp_path, noise, capsys, kept):
    file = tmp_path / "x.npz"
    np.savez_compressed(file, images=noise, labels=np.arange(len(noise)))
    file.write_bytes(file.read_bytes()[: int(kept * file.stat().st_size)])
    assert main(["write-beton", str(file), str(tmp_path / "x.beton"), "--quiet"]) == 1
    assert re.fullmatch(rf"ssl-data: {file}: it is damaged or cut off: .*; write it again\n", capsys.readouterr().err)
    assert not (tmp_path / "x.beton").exists()
