"""Images of another data set, in the size and the normalization of a trained model."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_data.augment.presets import views
from ssl_data.dataset_names import DATASETS
from ssl_data.datasets import open_dataset
from ssl_data.loader import Loader
from ssl_data.loading.threads import bounded_threads
from ssl_data.sources import BetonSource, FolderSource, Source
from ssl_data.sources.derived.derived import Derived
from ssl_data.sources.source import Pixels
from ssl_data.suggestion import did_you_mean

NAMED = tuple(name for name in DATASETS if name not in ("ImageFolder", "Beton", "huggingface", "objects"))
_TEST = ("test", "val")  # folders of the test images


def open_other_images(
    where: str, loaders: Any, batch_size: int, rank: int = 0, world_size: int = 1, root: str = "data", **options: Any
) -> Loader:
    """Return the loader of the test images of another data set, in the size and the normalization of a model's own images.

    Parameters
    ----------
    where : str
        A name of ``ssl_data.dataset_names.DATASETS`` (its test part); ``FOLDER/NAME`` looks for its files in that folder. Or a
        folder of images, in class folders or not, or with ``test`` or ``val`` in it; or an FFCV file.
    loaders : DataLoaders
        The data of the model: ``image_shape``, ``mean`` and ``std`` are used.
    batch_size : int
        Images a batch, over all ranks.
    rank, world_size : int
        This process among those that share a batch.
    root : str
        Folder of named data sets.
    options
        ``download`` (default: true) of named data sets, ``num_workers`` (one thread a processor), ``on_error`` of files.

    Returns
    -------
    Loader
        Every image once, in order. Grey images are repeated in three bands if the model takes three.

    Raises
    ------
    ValueError, FileNotFoundError
        For an unknown name, a data set that is not there, other bands than the model's, and a model whose images have another
        form than square pixels, mean and deviation.
    """
    shape, mean, std = tuple(loaders.image_shape), getattr(loaders, "mean", ()), getattr(loaders, "std", ())
    if len(shape) != 3 or shape[1] != shape[2] or len(mean) != shape[0] != 0:
        raise ValueError(
            f"{where!r} cannot be shown to this model: expected square images with a mean and a deviation for each band, as "
            f"views of pixels have, got image_shape={shape}, mean={tuple(mean)}"
        )
    num_workers = bounded_threads(options.pop("num_workers", -1), "data.num_workers")
    source = _opened(where, root, options.pop("download", True), options)
    if isinstance(source, FolderSource | BetonSource):
        source.load_into_memory(num_workers=max(1, num_workers))
    bands = source.image(0).shape[2]
    if bands == 1 and shape[0] == 3:
        source = GreyAsRGB(source)
    elif bands != shape[0]:
        raise ValueError(f"{where!r}: its images have {bands} bands; expected {shape[0]}, as those of the model")
    specs = views("evaluation", shape[1], mean, std)
    return Loader(
        source,
        specs,
        batch_size,
        shuffle=False,
        drop_last=False,
        rank=rank,
        world_size=world_size,
        num_workers=num_workers,
    )


def check_other_images(where: str) -> None:
    """Raise a ValueError unless ``where`` is the name of a data set, or a file or folder. Nothing is opened."""
    name = Path(where).name
    if name in NAMED or (where and Path(where).exists()):
        return
    hint = did_you_mean(name, NAMED)
    raise ValueError(f"{where!r} is neither a file or folder nor one of {', '.join(NAMED)}{hint}")


def name_of_other_images(where: str) -> str:
    """Return how results call the data set: the name in lower case, or that of the file or folder.

    Examples
    --------
    >>> name_of_other_images("SVHN"), name_of_other_images("photographs/textures/test")
    ('svhn', 'textures')
    """
    path = Path(where)
    if path.name in NAMED:
        return path.name.lower()
    path = path.resolve().parent if path.name in _TEST else path.resolve()
    return path.stem if path.suffix == ".beton" else path.name


def _opened(where: str, root: str, download: bool, options: dict[str, Any]) -> Source:
    check_other_images(where)
    path = Path(where)
    if path.name in NAMED and not path.exists():
        return open_dataset(path.name, root if where in NAMED else str(path.parent), "", download, **options).test
    if path.is_file():
        return BetonSource(path, memory=0, key="file", **options)
    part = next((path / name for name in _TEST if (path / name).is_dir()), path)
    return FolderSource(part, memory=0, key="folder", **options)


class GreyAsRGB(Derived):
    """The images of another source with one band, which is repeated three times."""

    def __init__(self, source: Source) -> None:
        super().__init__(source, np.arange(len(source)))
        self._scaled = self._jpegs = None
        self.images: NDArray[Any] | None = None if source.images is None else np.repeat(source.images, 3, axis=3)

    def image(self, position: int) -> Pixels:
        """Return one image, ``(H, W, 3)``."""
        return np.repeat(super().image(position), 3, axis=2)
