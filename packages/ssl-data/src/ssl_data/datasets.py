"""Data sets by name: a training source and a test source."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ssl_data.sources import ArraySource, FolderSource, Source, TorchvisionSource

Pair = tuple[Source, Source]
TEST_EVERY = 5  # of the digits of a class, in the order of scikit-learn, the first of every five is a test image


def open_dataset(name: str, root: str, download: bool, on_error: str) -> Pair:
    """Return the training and the test source of a data set; files of images are listed, and not read yet.

    Raises
    ------
    ValueError
        For an unknown name.
    FileNotFoundError
        If the data is not there, with where it was looked for and what to do.
    """
    if name == "digits":
        return _digits()
    if name == "ImageFolder":
        return _image_folder(Path(root), on_error)
    folders = Path(root) / name.lower()
    if (folders / "train").is_dir():  # the same data set as files in class folders
        return _image_folder(folders, on_error)
    return _torchvision(name, root, download)


def _digits() -> Pair:
    """Scikit-learn's 1,797 handwritten digits (Alpaydin & Kaynak 1998), 8 by 8, grey values 0..16 as 0..255.

    Of each class the first image and every fifth after it are the test set: 1,433 to train, 364 to test.
    """
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as file:
        images, labels = file["images"], file["labels"]
    test = np.zeros(len(labels), bool)
    for digit in range(10):
        test[np.flatnonzero(labels == digit)[::TEST_EVERY]] = True
    names = list("0123456789")
    return ArraySource(images[~test], labels[~test], names), ArraySource(images[test], labels[test], names)


def _image_folder(root: Path, on_error: str) -> Pair:
    """``root/train`` and ``root/test`` (or ``root/val``)."""
    if not root.is_dir():
        raise FileNotFoundError(f"data.root={str(root)!r}: there is no such folder")
    test = next((root / name for name in ("test", "val") if (root / name).is_dir()), None)
    if not (root / "train").is_dir() or test is None:
        found = sorted(entry.name for entry in root.iterdir())[:5]
        raise FileNotFoundError(
            f"data.root={str(root)!r}: expected the folders train/ and test/ (or val/) with a folder for each class in "
            f"it, found {', '.join(found) or 'nothing'}"
        )
    train_source = FolderSource(root / "train", on_error, memory=0)
    test_source = FolderSource(test, on_error, memory=0)
    if train_source.class_names != test_source.class_names:
        different = sorted(set(train_source.class_names) ^ set(test_source.class_names))
        raise ValueError(f"data.root={str(root)!r}: classes that only one of train/ and {test.name}/ has: {different}")
    return train_source, test_source


def _torchvision(name: str, root: str, download: bool) -> Pair:
    from torchvision import datasets

    kind = getattr(datasets, name)
    if name == "FakeData":
        shape = {"image_size": (3, 32, 32), "num_classes": 10}
        return (
            _fake(kind(size=1024, random_offset=0, **shape)),
            _fake(kind(size=256, random_offset=1024, **shape)),
        )
    by_split = name in ("STL10", "SVHN")
    parts: list[dict[str, Any]] = [
        {"split": part} if by_split else {"train": part == "train"} for part in ("train", "test")
    ]
    return _opened(kind, root, download, parts[0]), _opened(kind, root, download, parts[1])


def _fake(dataset: Any) -> Source:
    """Noise, drawn once: what it costs to make must not be what a benchmark measures."""
    pairs = [dataset[position] for position in range(len(dataset))]
    images = np.stack([np.asarray(image) for image, _ in pairs])
    return ArraySource(images, [int(label) for _, label in pairs], list(map(str, range(10))))


def _opened(kind: Any, root: str, download: bool, part: dict[str, Any]) -> Source:
    name = kind.__name__
    try:
        return TorchvisionSource(kind(root=root, download=False, **part))
    except RuntimeError as missing:
        if not download:
            raise FileNotFoundError(_advice(name, root, f"data.download=false and {missing}")) from missing
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)  # seconds; a node without a network may swallow packets
    fresh = not Path(root).exists()
    try:
        with _one_at_a_time(Path(root)):
            return TorchvisionSource(kind(root=root, download=True, **part))
    except (OSError, RuntimeError) as error:
        if fresh:
            _remove_empty(Path(root))  # torchvision made it for a download that never came
        raise FileNotFoundError(_advice(name, root, f"the download failed: {error}")) from error
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    """Let one process after the other download: the ranks of a run would write the same files."""
    import fcntl  # not on every system, and only a download needs it

    root.mkdir(parents=True, exist_ok=True)
    lock = root / ".download.lock"
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)  # let go when the file is closed, also by the death of the process
            yield
        finally:
            lock.unlink(missing_ok=True)


def _remove_empty(folder: Path) -> None:
    """Remove a folder of empty folders; anything else stays."""
    if folder.is_dir() and not any(path.is_file() for path in folder.rglob("*")):
        shutil.rmtree(folder)


def _advice(name: str, root: str, why: str) -> str:
    return (
        f"data.root={root!r}: {name} is not there ({why}); put torchvision's files or class folders "
        f"({name.lower()}/train/<class>/*.jpg and {name.lower()}/test/...) into that folder, set data.root or SSL_DATA_ROOT "
        "to where they are, or take data.dataset=digits, which needs nothing"
    )
