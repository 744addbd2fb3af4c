"""A data set of a transfer table: training and test images under the evaluation view of a run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_data.augment.presets import views
from ssl_data.datasets import open_dataset
from ssl_data.loader import Loader
from ssl_data.loading.threads import bounded_threads
from ssl_data.sources import FolderSource, Source, Subset, TorchvisionSource
from ssl_data.sources.derived.grey_as_rgb import GreyAsRGB
from ssl_data.sources.derived.joined import Joined
from ssl_data.sources.files.voc import VOCSource
from ssl_data.transfer_names import CUSTOMARY, EMBEDDED, ONLY_FOLDERS, is_folder_name

CALTECH_TRAIN = 30  # images of each class to train with, the others to test (Fei-Fei et al. 2004)
# The keywords of torchvision's training part, of which several are joined, and of its test part
_SPLIT, _TRAIN = ([{"split": "train"}], {"split": "test"}), ([{"train": True}], {"train": False})
_WITH_VALIDATION = ([{"split": "train"}, {"split": "val"}], {"split": "test"})
_PARTS: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "Food101": _SPLIT, "StanfordCars": _SPLIT, "GTSRB": _SPLIT, "STL10": _SPLIT, "SVHN": _SPLIT,
    "FGVCAircraft": ([{"split": "trainval"}], {"split": "test"}),
    "OxfordIIITPet": ([{"split": "trainval"}], {"split": "test"}),
    "DTD": _WITH_VALIDATION, "Flowers102": _WITH_VALIDATION, "RenderedSST2": _WITH_VALIDATION,
    "Country211": ([{"split": "train"}, {"split": "valid"}], {"split": "test"}),
    "CIFAR10": _TRAIN, "CIFAR100": _TRAIN, "MNIST": _TRAIN, "FashionMNIST": _TRAIN, "KMNIST": _TRAIN,
}  # fmt: skip


@dataclass
class TransferData:
    """The loaders of a data set, in the order of the samples, and how it is scored."""

    train: Loader
    test: Loader
    metric: str  # accuracy, mean_per_class or voc_map
    targets: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None  # (N, K) and (M, K) of several labels an image

    def fingerprint(self) -> dict[str, Any]:
        """Return the fingerprints of both parts."""
        return {"train": self.train.fingerprint(), "test": self.test.fingerprint()}


def open_transfer(
    name: str, root: str, image_shape: Sequence[int], mean: Sequence[float], std: Sequence[float], batch_size: int,
    download: bool = False, metric: str | None = None, seed: int = 0, num_workers: int = 0,
) -> TransferData:  # fmt: skip
    """Return the loaders of a data set under the evaluation view of a run; files are listed, and not read yet.

    Parameters
    ----------
    name : str
        One of ``ssl_data.transfer_names.CUSTOMARY``, or a folder with ``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg`` (or
        ``val``).
    root : str
        Folder of the named data sets: torchvision's files, or ``<name in lower case>/train/CLASS`` and ``test/CLASS``.
    image_shape : sequence of int
        ``(C, size, size)`` of a view of the run. Grey images are repeated where C is 3.
    mean, std : sequence of float
        The run's normalisation.
    batch_size : int
        Images a batch.
    download : bool
        Fetch what torchvision knows and ``root`` has not.
    metric : str, optional
        Default: the customary one, of folders ``accuracy``.
    seed : int
        Random seed of the split of Caltech101, 30 images of each class to train with.
    num_workers : int
        Threads; 0: one for each processor.

    Raises
    ------
    FileNotFoundError
        If the data is not there.
    ValueError
        For images of other bands, parts with different classes, and a metric that the labels do not allow.
    """
    metric = metric or CUSTOMARY.get(name, "accuracy")
    targets = None
    if name == "VOC2007" and not _has_folders(root, name):
        folder = str(_voc(root, download))
        parts: tuple[Source, Source] = VOCSource(folder, "trainval"), VOCSource(folder, "test")
        targets = parts[0].targets, parts[1].targets  # type: ignore[attr-defined]
    else:
        parts = _labelled(name, root, download, seed)
    if (metric == "voc_map") != (targets is not None):
        kind = "several labels" if targets is not None else "one label"
        raise ValueError(f"metric={metric!r}: the images of {name} have {kind}; expected another metric")
    bands, size = image_shape[0], image_shape[-1]
    view = views("evaluation", size, tuple(mean), tuple(std))
    options: dict[str, Any] = {"shuffle": False, "drop_last": False, "num_workers": bounded_threads(num_workers)}
    train, test = (
        Loader(_with_bands(part, bands), view, batch_size, rank=0, world_size=1, **options) for part in parts
    )
    return TransferData(train, test, metric, targets)


def _labelled(name: str, root: str, download: bool, seed: int) -> tuple[Source, Source]:
    """Return the training and test images of a data set with one label each."""
    if is_folder_name(name):
        return _folders(Path(name))
    if name in EMBEDDED:
        opened = open_dataset(name, root, "", download)
        return opened.train, opened.test
    if _has_folders(root, name) or name in ONLY_FOLDERS:
        return _folders(Path(root) / name.lower())
    from torchvision import datasets

    kind = getattr(datasets, name)
    if name == "Caltech101":
        if download:
            _torchvision(kind, root, True, {})
        # Its 102 folders, the background among them, as in the paper; torchvision leaves that out
        return _split(FolderSource(Path(root, "caltech101", "101_ObjectCategories"), memory=0), seed)
    of_train, of_test = _PARTS[name]
    first, *rest = [_torchvision(kind, root, download, keywords) for keywords in of_train]
    train: Source = first if not rest else Joined([first, *rest])
    return train, _torchvision(kind, root, download, of_test)


def _has_folders(root: str, name: str) -> bool:
    return Path(root, name.lower(), "train").is_dir()


def _folders(folder: Path) -> tuple[Source, Source]:
    test = next((folder / part for part in ("test", "val") if (folder / part).is_dir()), folder / "test")
    for part in (folder, folder / "train", test):
        if not part.is_dir():
            raise FileNotFoundError(f"'{part}': there is no such folder")
    sources = FolderSource(folder / "train", memory=0), FolderSource(test, memory=0)
    if sources[0].class_names != sources[1].class_names:
        lacking = sorted(set(sources[0].class_names) ^ set(sources[1].class_names))
        raise ValueError(f"'{folder}': classes that only one of train and {test.name} has: {', '.join(lacking[:5])}")
    return sources


def _torchvision(kind: Callable[..., Any], root: str, download: bool, keywords: dict[str, Any]) -> Source:
    try:
        dataset = kind(root=root, download=download, **keywords)
    except (RuntimeError, OSError) as error:  # torchvision's word for files that are not there, and urllib's
        raise FileNotFoundError(_missing(root, error)) from error
    return (
        TorchvisionSource(dataset, memory=0) if getattr(dataset, "data", None) is None else TorchvisionSource(dataset)
    )


def _missing(root: str, error: Exception) -> str:
    """Return the message for a data set that torchvision has not found, without its advice on an argument of its own."""
    reason = " ".join(str(error).split()).partition(" You can use download=True")[0]
    return f"root={root!r}: {reason.rstrip('.')}"


def _voc(root: str, download: bool) -> Path:
    """Return ``VOC2007`` below ``root``, downloaded by torchvision if that is asked for."""
    if download:
        from torchvision.datasets import VOCDetection

        for part in ("trainval", "test"):
            try:
                VOCDetection(root, year="2007", image_set=part, download=True)
            except (RuntimeError, OSError) as error:
                raise FileNotFoundError(_missing(root, error)) from error
    places = [Path(root, *parts) for parts in (("VOCdevkit", "VOC2007"), ("VOC2007",), ("voc2007",))]
    found = next((place for place in places if (place / "ImageSets" / "Main").is_dir()), None)
    if found is None:
        raise FileNotFoundError(f"root={root!r}: there is no VOCdevkit/VOC2007/ImageSets/Main")
    return found


def _split(whole: Source, seed: int) -> tuple[Source, Source]:
    """Return a seeded choice of ``CALTECH_TRAIN`` images of each class, and the others."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    order = np.argsort(rng.random(len(whole)), kind="stable")
    chosen = [order[whole.labels[order] == label][:CALTECH_TRAIN] for label in np.unique(whole.labels)]
    train = np.sort(np.concatenate(chosen))
    return Subset(whole, train), Subset(whole, np.setdiff1d(np.arange(len(whole)), train))


def _with_bands(source: Source, bands: int) -> Source:
    """Return a source with the bands of the run: grey images are repeated.

    Raises
    ------
    ValueError
        For images in colour and a run with one band, and for runs with other bands.
    """
    found = source.image(0).shape[2]
    if found == bands:
        return source
    if (found, bands) != (1, 3):
        raise ValueError(f"its images have {found} bands, and those of the run {bands}")
    return GreyAsRGB(source)
