"""The ``data`` group: data set and views. No torch is imported before :meth:`DataConfig.open`.

``metadata`` has the allowed values, as in ``ssl_core.config``: ``choices``, ``low``/``high`` (inclusive), ``above``/``below``
(exclusive), and ``resume="free"`` for keys that may differ when a run is resumed.
"""

import copy
import os
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ssl_data.augment.presets import views
from ssl_data.augment.view_mappings import views_of_mappings
from ssl_data.augment.view_spec import ViewSpec
from ssl_data.config_checks import check_fields, check_views, is_function
from ssl_data.dataset_names import DATASETS, EMBEDDED, NATIVE_SIZES
from ssl_data.errors import configuration_keys
from ssl_data.suggestion import did_you_mean
from ssl_data.value_range import checked_range

if TYPE_CHECKING:
    from ssl_data.opening.open_data import DataLoaders


def _root() -> str:
    return os.environ.get("SSL_DATA_ROOT", "data")


@dataclass
class DataConfig:
    """The ``data`` group: data set, views and their loading."""

    dataset: str = field(default="digits", metadata={"choices": tuple(DATASETS)})  # name of the data set; the
    # digits are included, the others are read from root
    root: str = field(default_factory=_root, metadata={"resume": "free"})  # folder of the data; default $SSL_DATA_ROOT
    split: str = ""  # training split: a folder or file in root, STL10 unlabeled, SVHN extra, EMNIST letters; "": train
    views: str | list = "simclr"  # a preset of ssl_data.views, or a list of mappings of ViewSpec's fields, one a view;
    # a mapping with "preset: simclr" gives all views of that preset, changed; "num_local: 4" is for dino and swav.
    # In Python also a list of functions (sample, generator), one a view
    size: int = field(default=0, metadata={"low": 0})  # side of a view in pixels; 0: that of the
    # images (digits: 16), 224 if they differ
    dtype: str = field(default="float32", metadata={"choices": ("float32", "bfloat16")})  # dtype of the training views
    executor: str = field(default="auto", metadata={"choices": ("auto", "fused", "device")})  # where views are
    # made: fused on the CPU, device on that of the model; auto: device for a GPU if the images fit into device_memory_gb
    device_memory_gb: float = field(default=4.0, metadata={"low": 0.0})  # largest size of the images for auto, in GB
    num_workers: int = field(default=-1, metadata={"low": -1, "resume": "free"})  # threads; -1: one per processor;
    # at most 8 per processor. With views that are functions: processes; 0: this process
    on_error: str = field(default="raise", metadata={"choices": ("raise", "skip")})  # unreadable images; skip:
    # another image takes the place
    skip_limit: float = field(default=0.01, metadata={"low": 0.0, "high": 1.0})  # share of images that skip replaces
    pixels: str = field(default="rgb8", metadata={"choices": ("rgb8", "stored")})  # image files: 8-bit RGB, or with
    # the bands and the depth that are stored (TIFF, 16-bit PNG, .npy: pip install 'ssl-data[tiff]')
    scaled_decoding: bool = False  # Beton: decode JPEG at 1/2, 1/4 or 1/8 where no view needs more;
    # changes pixels by 1 to 2 grey levels
    value_range: list[float] | None = None  # stored values that become 0 and 1 in the views, e.g. [0, 4095];
    # null: those of the data, else of its type: uint8 [0, 255], uint16 [0, 65535], float32 [0, 1]
    fraction: float = field(default=1.0, metadata={"above": 0.0, "high": 1.0})  # share of each class to train on
    per_class: int = field(default=0, metadata={"low": 0})  # training images of each class; 0: all of them
    imbalance: float = field(default=1.0, metadata={"above": 0.0, "high": 1.0})  # rarest class over largest, in samples
    label_noise: float = field(default=0.0, metadata={"low": 0.0, "high": 1.0})  # share of wrong training labels
    eval_fraction: float = field(default=1.0, metadata={"above": 0.0, "high": 1.0})  # share of each class to test on;
    # the same images for every seed
    eval_per_class: int = field(default=0, metadata={"low": 0})  # test images of each class; 0: all of them
    image_key: str = ""  # huggingface: column of the images; "": image, img, ...
    label_key: str = ""  # huggingface: column of the labels; "": label, labels, fine_label, ...
    eval_view: Any = None  # in Python, with views that are functions: the function that makes the view for evaluation
    batch_transform: Any = None  # in Python: a function (batch, generator) -> batch; see ssl_data.Loader
    download: bool = field(default=True, metadata={"resume": "free"})  # fetch what is missing, if there is a network

    given: ClassVar[Any] = None  # GivenData of :meth:`of`; not a key

    @classmethod
    def of(
        cls,
        train: Any,
        test: Any = None,
        views: str | list | None = None,
        *,
        reference: Any = None,
        image: str | int | list[str] | None = None,
        label: str | int | None = None,
        class_names: list[str] | None = None,
        epoch_samples: int | None = None,
        **keys: Any,
    ) -> "DataConfig":
        """Return the configuration of data sets that are given as Python objects.

        Parameters
        ----------
        train : object
            A map-style data set of torch, torchvision or Hugging Face (``dataset[i]`` is a mapping, a tuple ``(sample, label)``
            or a sample), an array or tensor ``(M, ...)``, a tuple ``(array, labels)``, the path of a folder with a folder for
            each class, WebDataset shards (``"train-{000..146}.tar"``), or a source of :mod:`ssl_data.sources`. Images are
            arrays ``(M, H, W, C)`` or tensors ``(M, C, H, W)``. Or a stream, an ``IterableDataset`` of WebDataset, Hugging
            Face or torch: see :class:`ssl_data.StreamLoader`. Or an FFCV ``Loader``: see
            :class:`ssl_data.loading.ffcv_loader.FFCVLoader`.
        test : object or dict, optional
            Test data in the same forms; a dict has several data sets by name. Default: no evaluation.
        views : str or list
            A preset or mappings, for images (uint8, uint16 or float32, 1 to 64 bands); or a list of functions, one a view:
            ``function(sample, generator)``, or a pipeline ``function(sample)`` of torchvision, albumentations or kornia.
            Default: ``"simclr"``, or the pipelines of an FFCV ``Loader``.
        reference : object, optional
            Labelled training samples for the evaluation, if those of ``train`` have no labels.
        image, label : str or int, optional
            Key, column or place of sample and label. Default: see :class:`ssl_data.IndexedSource`. For an FFCV ``Loader``: the
            pipelines that give the views (a list of names) and the label.
        class_names : list of str, optional
            Names of the classes. Default: those of the data set; for a stream, those of ``reference``.
        epoch_samples : int, optional
            Number of samples in an epoch of a stream, over all ranks. Default: its length, if it has one.
        keys
            Other keys of this class, such as ``value_range``, ``eval_view``, ``batch_transform``, ``num_workers``.

        Raises
        ------
        ValueError
            For an unknown or invalid key.

        Examples
        --------
        >>> import torch
        >>> def noisy(sample, generator):
        ...     return sample + 0.1 * torch.randn(sample.shape, generator=generator)
        >>> spectrograms, labels = torch.zeros(8, 1, 40, 100), [0, 1] * 4
        >>> config = DataConfig.of(train=(spectrograms, labels), views=[noisy, noisy], num_workers=0)
        >>> views, labels, ids = next(iter(config.open(batch_size=4, seed=0).train))
        >>> [tuple(view.shape) for view in views]
        [(4, 1, 40, 100), (4, 1, 40, 100)]
        """
        known = {each.name for each in fields(cls)} - {"dataset", "root", "split", "download", "image_key", "label_key"}
        for name in keys:
            if name not in known:
                raise ValueError(f"DataConfig.of({name}=...): unknown key{did_you_mean(name, known)}")
        from ssl_data.opening.given import GivenData  # imports torch
        from ssl_data.opening.open_ffcv import raise_for_key

        config = cls(dataset="objects", root="", views="simclr" if views is None else views, **keys)
        config.given = GivenData(train, test, reference, image, label, class_names, epoch_samples)  # type: ignore[misc]
        if views is not None and config.given.is_ffcv:
            raise_for_key("views", views)
        if isinstance(image, list) and not config.given.is_ffcv:
            raise ValueError(
                f"DataConfig.of(image={image!r}): expected one key or column; a list is for an FFCV Loader"
            )
        config.check()
        return config

    @property
    def has_functions(self) -> bool:
        """Whether the views are made by functions."""
        return isinstance(self.views, list | tuple) and any(map(is_function, self.views))

    @configuration_keys()
    def open(self, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> "DataLoaders":
        """Return the loaders of one rank.

        Parameters
        ----------
        batch_size : int
            Number of samples in a batch, over all ranks.
        seed : int
            Random seed of the order, the views and the subset.
        rank, world_size : int
            Number of this process, and of processes that share a batch.

        Raises
        ------
        ValueError, FileNotFoundError
            The message begins with the key to change.
        """
        self.check()  # before any data is opened
        if self.given is not None and self.given.has_stream:
            from ssl_data.opening.open_stream import open_stream_loaders

            return open_stream_loaders(self, batch_size, seed, rank, world_size)
        from ssl_data.opening.open_data import open_loaders  # imports torch

        return open_loaders(self, batch_size, seed, rank, world_size)

    @configuration_keys()
    def view_sizes(self) -> list[int | None]:
        """Return the side in pixels of each view of an image, None where it depends on the images. No data is opened.

        The list is empty for views of functions.

        Raises
        ------
        ValueError
            For invalid keys, as :meth:`check`.
        """
        self.check()
        if self.has_functions or (self.given is not None and self.given.is_ffcv):
            return []  # a function may return several
        size = self.size or (None if self._reads_files() else NATIVE_SIZES.get(self.dataset))
        small, large = ([spec.size for spec in self.specs(each, (0.0,), (1.0,))] for each in (size or 96, size or 224))
        return [side if side == other else None for side, other in zip(small, large)]

    def has_labels(self) -> bool | None:
        """Return whether the training images have labels, None where it depends on the files. No data is opened."""
        return None if self._reads_files() else (self.dataset, self.split) != ("STL10", "unlabeled")

    def _reads_files(self) -> bool:
        """Return whether the images are the user's files: also a data set of torchvision that was extracted into folders."""
        extracted = (
            self.dataset not in (*EMBEDDED, "FakeData", "objects")
            and Path(self.root, self.dataset.lower(), "train").is_dir()
        )
        return self.dataset in ("ImageFolder", "Beton", "huggingface", "objects") or extracted

    @configuration_keys()
    def labelled_part(self, fraction: float, seed: int, views: str | list = "") -> "tuple[DataConfig, int]":
        """Return the configuration that trains with labels on a share of the images of each class, and how many these are.

        Images are counted, none is read. If those of ``split`` have no labels, the labelled images of the data set are counted.

        Parameters
        ----------
        fraction : float
            Share of the images of each class, at least one of each.
        seed : int
            Random seed of the choice, as in :meth:`open`.
        views : str or list
            As the key. Default: ``supervised`` (crops and flips), or the run's own views if they are ``digits`` or mappings,
            which may exclude flips on purpose.

        Raises
        ------
        ValueError, FileNotFoundError
            As :meth:`open`.
        """
        if self.given is not None and self.given.is_ffcv:
            raise ValueError("data.train: an FFCV Loader gives all of its samples; expected the path of its file")
        own = self.views if isinstance(self.views, list) or self.views == "digits" else "supervised"
        part = copy.copy(self)  # with the data sets that are given as objects
        part.fraction, part.per_class, part.views = fraction, 0, views or own
        part.check()
        from ssl_data.opening.open_data import count_labelled  # imports torch

        return part, count_labelled(part, seed)

    @configuration_keys()
    def check(self) -> None:
        """Raise a ValueError that begins with the key, for anything that the fields' metadata or the views do not allow.

        Without torch, and before any data is opened.
        """
        check_fields(self)
        if self.per_class and self.fraction < 1:
            raise ValueError(
                f"data.per_class={self.per_class!r} and data.fraction={self.fraction!r} are mutually exclusive"
            )
        if self.eval_per_class and self.eval_fraction < 1:
            raise ValueError(
                f"data.eval_per_class={self.eval_per_class!r} and data.eval_fraction={self.eval_fraction!r} are mutually "
                "exclusive"
            )
        if self.value_range is not None:
            checked_range(self.value_range)
        if self.given is not None and self.given.is_ffcv:
            from ssl_data.opening.open_ffcv import check_ffcv_keys

            check_ffcv_keys(self)
        check_views(self)

    def use_reference(self) -> None:
        """Train on the labelled images where those of the configuration have no labels."""
        self.split = ""
        if self.given is not None:
            self.given = replace(self.given, train=self.given.reference, reference=None)  # type: ignore[misc]

    def check_objects(self) -> None:
        """Raise a ValueError for a configuration that was read from a file and lacks the Python objects of its run."""
        values = [self.eval_view, self.batch_transform, *(self.views if isinstance(self.views, list | tuple) else [])]
        if (self.dataset == "objects" and self.given is None) or any(isinstance(each, str) for each in values):
            raise ValueError(
                f"data.dataset={self.dataset!r}: the data sets or the functions of this run are Python objects, which its "
                "configuration file does not contain; to resume it, run the script again that passes them to fit() or launch()"
            )

    def specs(self, size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> list[ViewSpec]:
        """Return the views of ``views`` for images of a size."""
        return (
            views(self.views, size, mean, std)
            if isinstance(self.views, str)
            else views_of_mappings(self.views, size, mean, std)
        )
