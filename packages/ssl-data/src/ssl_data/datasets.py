"""Data sets by name: training images, test images, and labelled images where the training images have no labels."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssl_data.dataset_names import EMBEDDED
from ssl_data.sources import ArraySource, BetonSource, FolderSource, Source, TorchvisionSource

TEST_EVERY = 5  # of the digits of a class, in the order of scikit-learn, the first of every five is a test image

#: What data.split may be where torchvision has more than a training and a test part; the first is the default.
SPLITS = {
    "EMNIST": ("balanced", "byclass", "bymerge", "letters", "digits", "mnist"),
    "STL10": ("train", "unlabeled", "train+unlabeled"),
    "SVHN": ("train", "extra"),
}


class Parts(NamedTuple):
    """The parts of a data set; ``reference`` holds labelled training images where ``train`` has images without labels."""

    train: Source
    test: Source
    reference: Source | None = None


def open_dataset(name: str, root: str, split: str, download: bool, **options: Any) -> Parts:
    """Return the parts of a data set; files of images are listed, and not read yet.

    Parameters
    ----------
    name : str
        One of ``ssl_data.dataset_names.DATASETS``.
    root : str
        Folder of the data.
    split : str
        What to train on; empty: the training part.
    download : bool
        Fetch what torchvision knows and ``root`` has not.
    options
        ``on_error`` and ``skip_limit``, of the sources that read files; ``pixels`` and ``value_range``, of folders, and
        ``scaled_decoding``, of FFCV's files.

    Raises
    ------
    ValueError
        For an unknown split.
    FileNotFoundError
        If the data is not there, with where it was looked for and what to do.
    """
    if name in ("ImageFolder", "Beton"):
        return _own_files(Path(root), split or "train", ".beton" if name == "Beton" else "", options)
    folders = Path(root) / name.lower()
    # The same data set as files in class folders
    if name not in (*EMBEDDED, "FakeData") and (folders / "train").is_dir():
        return _own_files(folders, split or "train", "", options)
    known = SPLITS.get(name, ("train",))
    if split and split not in known:
        raise ValueError(f"data.split={split!r}: expected {' or '.join(map(repr, known))} for {name}")
    return _digits(name) if name in EMBEDDED else _torchvision(name, root, download, split or known[0])


def _digits(name: str) -> Parts:
    """Scikit-learn's 1,797 handwritten digits (Alpaydin & Kaynak 1998), grey values 0..16 as 0..255.

    ``digits``: 8 by 8. ``affine_digits``: 16 by 16; ``runs/bench/affine_digits.py`` has shifted, turned, sheared and scaled
    each digit at random. Of each class the first image and every fifth after it are the test set: 1,433 to train, 364 to test.
    """
    with np.load(Path(__file__).with_name(f"{name}.npz"), allow_pickle=False) as file:
        images, labels = file["images"], file["labels"]
    test = np.zeros(len(labels), bool)
    for digit in range(10):
        test[np.flatnonzero(labels == digit)[::TEST_EVERY]] = True
    names = list("0123456789")
    train, rest = ArraySource(images[~test], labels[~test], names), ArraySource(images[test], labels[test], names)
    return Parts(train, rest)


def _own_files(root: Path, split: str, suffix: str, options: dict[str, Any]) -> Parts:
    """``root/<split>`` and ``root/test`` (or ``val``): folders of images, or FFCV files if ``suffix`` is given.

    Where the images of ``split`` have no labels, those of ``root/train`` are the reference, if there are any.
    """
    where, shown = f"data.root={str(root)!r}", suffix or "/"
    if not root.is_dir():
        raise FileNotFoundError(f"{where}: there is no such folder")
    train, labelled = root / f"{split}{suffix}", root / f"train{suffix}"
    test = next((path for path in (root / f"test{suffix}", root / f"val{suffix}") if path.exists()), None)
    if not train.exists() or test is None:
        found = sorted(entry.name for entry in root.iterdir())[:5]
        raise FileNotFoundError(
            f"{where}: expected the {'files' if suffix else 'folders'} {split}{shown} and test{shown} (or val{shown})"
            f"{'' if suffix else ' with a folder for each class in it'}, found {', '.join(found) or 'nothing'}; move some "
            "images of each class to test/, or train without an evaluation by DataConfig.of(train=FOLDER) in Python"
        )

    def opened(path: Path) -> Source:
        others = ("pixels", "value_range") if suffix else ("scaled_decoding",)
        reading = {name: value for name, value in options.items() if name not in others}
        return (BetonSource if suffix else FolderSource)(path, memory=0, key="data.root", **reading)

    parts = Parts(opened(train), opened(test))
    if parts.train.labels.max() < 0 and labelled != train and labelled.exists():
        parts = parts._replace(reference=opened(labelled))
    names = (parts.reference or parts.train).class_names
    if names and not suffix and names != parts.test.class_names:  # FFCV's files have no names of classes
        different = sorted(set(names) ^ set(parts.test.class_names))
        raise ValueError(f"{where}: classes that only one of train/ and {test.name}/ has: {different}")
    return parts


def _torchvision(name: str, root: str, download: bool, split: str) -> Parts:
    from torchvision import datasets

    kind = getattr(datasets, name)
    if name == "FakeData":
        shape = {"image_size": (3, 32, 32), "num_classes": 10}
        return Parts(
            _fake(kind(size=1024, random_offset=0, **shape)), _fake(kind(size=256, random_offset=1024, **shape))
        )

    def opened(part: str) -> Source:
        if name == "EMNIST":
            return _opened(kind, root, download, {"split": split, "train": part != "test"})
        return _opened(kind, root, download, {"split": part} if name in SPLITS else {"train": part == "train"})

    train, test = opened(split), opened("test")
    return Parts(train, test, opened("train") if train.labels.min() < 0 else None)


def _fake(dataset: Any) -> Source:
    """Noise, drawn once: what it costs to make must not be what a benchmark measures."""
    pairs = [dataset[position] for position in range(len(dataset))]
    images = np.stack([np.asarray(image) for image, _ in pairs])
    return ArraySource(images, [int(label) for _, label in pairs], list(map(str, range(10))))


def _opened(kind: Any, root: str, download: bool, part: dict[str, Any]) -> Source:
    name = kind.__name__
    try:
        return TorchvisionSource(kind(root=root, download=False, **part))
    except ImportError as error:
        raise ImportError(
            f"data.dataset={name!r}: torchvision reads it with a package that is missing: {error}"
        ) from error
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
    root.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows: without a lock
        yield
        return
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
