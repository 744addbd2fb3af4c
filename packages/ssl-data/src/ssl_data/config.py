"""The ``data`` group: data set and views. No torch is imported before :meth:`DataConfig.open`.

``metadata`` has the allowed values, as in ``ssl_core.config``: ``choices``, ``low``/``high`` (inclusive), ``above``/``below``
(exclusive), and ``resume="free"`` for keys that may differ when a run is resumed.
"""

import math
import os
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_data.augment.presets import view_names, views
from ssl_data.augment.view_spec import ViewSpec
from ssl_data.errors import configuration_keys
from ssl_data.suggestion import did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ssl_data.loader import Loader
    from ssl_data.sources import Source

DATASETS = {  # name -> what it is; from CIFAR10 on, torchvision's
    "digits": "1,797 handwritten digits of scikit-learn, 8 x 8 gray, 10 classes; embedded, no download",
    "ImageFolder": "your images: ROOT/train/CLASS/*.jpg and ROOT/test/CLASS/*.jpg",
    "Beton": "FFCV files: ROOT/train.beton and ROOT/test.beton",
    "CIFAR10": "60,000 photographs, 32 x 32, 10 classes",
    "CIFAR100": "60,000 photographs, 32 x 32, 100 classes",
    "STL10": "13,000 labelled and 100,000 unlabelled photographs, 96 x 96, 10 classes",
    "SVHN": "99,289 house numbers, 32 x 32, 10 classes",
    "FashionMNIST": "70,000 pieces of clothing, 28 x 28 gray, 10 classes",
    "MNIST": "70,000 handwritten digits, 28 x 28 gray, 10 classes",
    "KMNIST": "70,000 handwritten Japanese characters, 28 x 28 gray, 10 classes",
    "EMNIST": "handwritten letters and digits, 28 x 28 gray, up to 62 classes",
    "FakeData": "random pixels, for tests",
}

NATIVE_SIZES = {  # pixels; 16 of the digits, since 8 leave no room for convolutions
    "digits": 16, "CIFAR10": 32, "CIFAR100": 32, "STL10": 96, "SVHN": 32, "FashionMNIST": 28, "MNIST": 28, "KMNIST": 28,
    "EMNIST": 28,
}  # fmt: skip

_UNBOUNDED = {"low": -math.inf, "above": -math.inf, "high": math.inf}
_SIGNS = {"low": "at least", "above": "above", "high": "at most"}


def _root() -> str:
    return os.environ.get("SSL_DATA_ROOT", "data")


@dataclass
class DataLoaders:
    """The loaders of one rank."""

    train: "Loader"  # the views, shuffled, full batches only
    reference: "Loader"  # the training images (labelled ones, where these are not) under the evaluation view, in order
    evaluation: dict[str, "Loader"]  # name of the data set -> its test images under the evaluation view
    num_classes: int
    class_names: list[str]
    image_shape: tuple[int, int, int]  # (C, H, W) of one view
    mean: tuple[float, ...]  # of each channel, subtracted from pixels between 0 and 1
    std: tuple[float, ...]  # of each channel, by which they are divided then

    def fingerprint(self) -> dict[str, dict[str, Any]]:
        """Return the fingerprint of each part, by name: what a run records, and compares when it is resumed."""
        found = {"train": self.train.fingerprint()}
        if self.reference.source is not self.train.source:
            found["reference"] = self.reference.fingerprint()
        return found | {name: loader.fingerprint() for name, loader in self.evaluation.items()}


@dataclass
class DataConfig:
    """The ``data`` group: data set, views and their loading."""

    dataset: str = field(
        default="digits", metadata={"choices": tuple(DATASETS)}
    )  # digits are embedded; others are in root
    root: str = field(default_factory=_root, metadata={"resume": "free"})  # folder of the data; default $SSL_DATA_ROOT
    split: str = ""  # trained on: folder or file in root, STL10 unlabeled, SVHN extra, EMNIST letters, ...; "": train
    views: str | list = "simclr"  # a preset of ssl_data.views, or a list of mappings of ViewSpec's fields, one a view;
    # with "preset: simclr" among them a mapping stands for all views of it, changed; "num_local: 4" is for dino and swav
    size: int = field(default=0, metadata={"low": 0})  # pixels of a view; 0: as the images are
    # (digits: 16), 224 if they differ
    dtype: str = field(default="float32", metadata={"choices": ("float32", "bfloat16")})  # of the training views
    executor: str = field(default="auto", metadata={"choices": ("auto", "fused", "device")})  # what makes views: fused
    # on the processor, device where the model is; auto: device if that is a GPU and the images fit into device_memory_gb
    device_memory_gb: float = field(default=4.0, metadata={"low": 0.0})  # 1e9 bytes of images
    num_workers: int = field(
        default=-1, metadata={"low": -1, "resume": "free"}
    )  # threads; -1: one a processor; at most 8
    on_error: str = field(default="raise", metadata={"choices": ("raise", "skip")})  # at an unreadable image
    skip_limit: float = field(default=0.01, metadata={"low": 0.0, "high": 1.0})  # share of images that skip replaces
    scaled_decoding: bool = False  # Beton: JPEG at 1/2, 1/4, 1/8 where no view needs more
    # than that; moves pixels by 1 to 2 grey levels
    fraction: float = field(default=1.0, metadata={"above": 0.0, "high": 1.0})  # of the training images of each class
    per_class: int = field(default=0, metadata={"low": 0})  # training images of each class; 0: all of them
    imbalance: float = field(default=1.0, metadata={"above": 0.0, "high": 1.0})  # rarest class over most frequent
    label_noise: float = field(default=0.0, metadata={"low": 0.0, "high": 1.0})  # share of training labels made wrong
    download: bool = field(default=True, metadata={"resume": "free"})  # fetch what is missing, if there is a network

    @configuration_keys()
    def open(self, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> DataLoaders:
        """Return the loaders of one rank.

        Parameters
        ----------
        batch_size : int
            Samples a batch, over all ranks.
        seed : int
            Of the order, the views and the subset.
        rank, world_size : int
            This process among those that share a batch.

        Raises
        ------
        ValueError, FileNotFoundError
            The message begins with the key to change.
        """
        self.check()  # before any data is opened
        import torch

        from ssl_data.datasets import open_dataset
        from ssl_data.loader import Loader, check_batch_size
        from ssl_data.loading.threads import bounded_threads
        from ssl_data.sources import BetonSource, FolderSource, Relabelled, Source, Subset
        from ssl_data.sources.subset import subset_indices

        threads = bounded_threads(self.num_workers, "data.num_workers")
        reading = {"on_error": self.on_error, "skip_limit": self.skip_limit, "scaled_decoding": self.scaled_decoding}
        parts = open_dataset(self.dataset, self.root, self.split, self.download, **reading)
        class_names = parts.train.class_names or (parts.reference or parts.test).class_names
        labels = self._labels(parts.train.labels, len(class_names), seed)
        part = subset_indices(labels, self.fraction, self.imbalance, seed, self.per_class)
        check_batch_size(batch_size, len(part), world_size)
        for source in parts:
            if isinstance(source, FolderSource | BetonSource):
                source.load_into_memory(num_workers=threads)
        train, test = parts.train, parts.test
        if labels is not train.labels:
            train = Relabelled(train, labels)
        if len(part) < len(train):
            train = Subset(train, part)
        size = self.size or _native_size(self.dataset, train)
        mean, std = _statistics(parts.train)  # of all images: a part of them is seen as the whole is
        specs = self._specs(size, mean, std)
        plain = views("evaluation", size, mean, std)
        ranks: dict[str, Any] = {"seed": seed, "rank": rank, "world_size": world_size, "num_workers": threads}
        everything: dict[str, Any] = {"shuffle": False, "drop_last": False, **ranks}

        def plainly(source: Source) -> Loader:
            return Loader(source, plain, batch_size, device=self._device(source), **everything)

        dtype = torch.bfloat16 if self.dtype == "bfloat16" else torch.float32
        return DataLoaders(
            train=Loader(train, specs, batch_size, dtype=dtype, device=self._device(train), **ranks),
            reference=plainly(parts.reference or train),
            evaluation={self.dataset.lower(): plainly(test)},
            num_classes=len(class_names),
            class_names=list(class_names),
            image_shape=(train.image(0).shape[2], size, size),
            mean=mean,
            std=std,
        )

    @configuration_keys()
    def view_sizes(self) -> list[int | None]:
        """Return the side in pixels of each view of an image, None where it depends on the images. No data is opened.

        Raises
        ------
        ValueError
            For invalid keys, as :meth:`check`.
        """
        self.check()
        size = self.size or (None if self._reads_files() else NATIVE_SIZES.get(self.dataset))
        small, large = ([spec.size for spec in self._specs(each, (0.0,), (1.0,))] for each in (size or 96, size or 224))
        return [side if side == other else None for side, other in zip(small, large)]

    def has_labels(self) -> bool | None:
        """Return whether the training images have labels, None where it depends on the files. No data is opened."""
        return None if self._reads_files() else (self.dataset, self.split) != ("STL10", "unlabeled")

    def _reads_files(self) -> bool:
        """Return whether the images are the user's files: also a data set of torchvision that was extracted into folders."""
        extracted = (
            self.dataset not in ("digits", "FakeData") and Path(self.root, self.dataset.lower(), "train").is_dir()
        )
        return self.dataset in ("ImageFolder", "Beton") or extracted

    @configuration_keys()
    def labelled_part(self, fraction: float, seed: int, views: str | list = "") -> "tuple[DataConfig, int]":
        """Return the configuration that trains with labels on a share of the images of each class, and how many these are.

        Images are counted, none is read. If those of ``split`` have no labels, the labelled images of the data set are counted.

        Parameters
        ----------
        fraction : float
            Share of the images of each class, at least one of each.
        seed : int
            Which ones, as in :meth:`open`.
        views : str or list
            As the key. Default: ``supervised`` (crops and flips), but the run's own where they are ``digits`` or mappings:
            whoever chose them knew that these images are not to be mirrored, say.

        Raises
        ------
        ValueError, FileNotFoundError
            As :meth:`open`.
        """
        own = self.views if isinstance(self.views, list) or self.views == "digits" else "supervised"
        part = replace(self, fraction=fraction, per_class=0, views=views or own)
        part.check()
        from ssl_data.datasets import open_dataset
        from ssl_data.sources.subset import subset_indices

        parts = open_dataset(self.dataset, self.root, self.split, self.download, on_error=self.on_error)
        if parts.reference is not None:
            part.split = ""
        labelled = parts.reference or parts.train
        if len(labelled.labels) == 0 or labelled.labels.min() < 0:
            raise ValueError(f"data.dataset={self.dataset!r}: the training images have no labels")
        labels = self._labels(labelled.labels, len(labelled.class_names), seed)
        return part, len(subset_indices(labels, fraction, self.imbalance, seed))

    def _labels(self, labels: "NDArray[np.int64]", num_classes: int, seed: int) -> "NDArray[np.int64]":
        """Return the labels to train with, some of them made wrong where that is asked for."""
        for name in ("per_class", "imbalance", "label_noise"):
            if getattr(self, name) != getattr(DataConfig, name) and (len(labels) == 0 or labels.min() < 0):
                raise ValueError(f"data.{name}={getattr(self, name)!r}: the training images have no labels")
        if not self.label_noise:
            return labels
        from ssl_data.sources.label_noise import symmetric_label_noise

        if num_classes < 2:
            raise ValueError(f"data.label_noise={self.label_noise!r}: there is one class only")
        return symmetric_label_noise(labels, num_classes, self.label_noise, seed)

    def _device(self, source: "Source") -> str | None:
        """Return the device that a source is kept on, or None for the processor's threads."""
        import torch

        gpu = torch.cuda.is_available()
        if self.executor == "fused":
            return None
        if self.executor == "device":
            if source.images is None:
                raise ValueError("data.executor='device': the images are not in memory; expected 'auto' or 'fused'")
            return "cuda" if gpu else "cpu"
        fits = source.images is not None and source.images.nbytes <= self.device_memory_gb * 1e9
        return "cuda" if gpu and fits else None

    @configuration_keys()
    def check(self) -> None:
        """Raise a ValueError that begins with the key, for anything that the fields' metadata or the views do not allow.

        Without torch, and before any data is opened.
        """
        for each in fields(self):
            value, name, allowed = getattr(self, each.name), f"data.{each.name}", each.metadata
            if "choices" in allowed and value not in allowed["choices"]:
                hint = did_you_mean(str(value), allowed["choices"])
                raise ValueError(f"{name}={value!r}: expected one of {', '.join(map(repr, allowed['choices']))}{hint}")
            limits = {key: allowed[key] for key in ("low", "above", "high") if key in allowed}
            low, above, high = (limits.get(key, bound) for key, bound in _UNBOUNDED.items())
            if limits and not (low <= value <= high and value > above):
                said = " and ".join(f"{_SIGNS[key]} {limit:g}" for key, limit in limits.items())
                raise ValueError(f"{name}={value!r}: expected a number {said}")
        if self.per_class and self.fraction < 1:
            raise ValueError(
                f"data.per_class={self.per_class!r} and data.fraction={self.fraction!r} are mutually exclusive"
            )
        if isinstance(self.views, str):
            views(self.views)
        elif (
            not isinstance(self.views, list | tuple)
            or not self.views
            or not all(isinstance(view, dict) for view in self.views)
        ):
            names = ", ".join(map(repr, view_names()))
            raise ValueError(f"data.views={self.views!r}: expected one of {names}, or a list of mappings, one a view")
        else:
            self._own_views(32, (0.0,), (1.0,))

    def _specs(self, size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> list[ViewSpec]:
        """Return the views of ``views`` for images of a size."""
        return views(self.views, size, mean, std) if isinstance(self.views, str) else self._own_views(size, mean, std)

    def _own_views(self, size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> list[ViewSpec]:
        """Return the specs of a list of mappings: each a view of its own, or with ``preset`` all views of one, changed."""
        assert not isinstance(self.views, str)
        specs = []
        for mapping in self.views:
            changes = dict(mapping)
            preset, num_local = changes.pop("preset", None), changes.pop("num_local", None)
            if preset is None and num_local is not None:
                raise ValueError(f"data.views: num_local={num_local!r}: expected a preset in the same mapping")
            for name in ("mean", "std"):
                if name in changes:
                    raise ValueError(f"data.views: {name}={changes[name]!r}: not a key here, that of the data is used")
            base = [ViewSpec(size=size)] if preset is None else views(preset, size, num_local=num_local)
            specs += [spec.changed(changes) for spec in base]
        return [replace(spec, mean=mean, std=std) for spec in specs]


def _native_size(dataset: str, source: "Source") -> int:
    if source.images is None:
        return 224  # pixels, the field's size for photographs
    return NATIVE_SIZES["digits"] if dataset == "digits" else max(source.images.shape[1:3])


def _statistics(source: "Source") -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel: those of the data in memory, else ImageNet's."""
    if source.images is None:
        return (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    import numpy as np

    channels = source.images.shape[3]
    counts = np.zeros((channels, 256), np.int64)  # exact, and no float copy of the data
    for first in range(0, len(source.images), 1024):
        stretch = source.images[first : first + 1024]
        for channel in range(channels):
            counts[channel] += np.bincount(stretch[..., channel].ravel(), minlength=256)
    values, shares = np.arange(256) / 255, counts / counts.sum(1, keepdims=True)
    means = shares @ values
    deviations = np.sqrt((shares * (values - means[:, None]) ** 2).sum(1)).clip(min=1e-3)
    return tuple(means.tolist()), tuple(deviations.tolist())
