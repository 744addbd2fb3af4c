"""Check the first batch of each loader, so that wrong data is one sentence."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, int64

from ssl_core.batch import views_of
from ssl_core.errors import ConfigError, describe

_BATCH = "expected (views: list of (N, C, H, W) of floating point, labels (N,) int64, ids (N,) int64)"


def check_loaders(loaders: Any) -> None:
    """Raise a ConfigError if what ``data.open`` has returned is not a :class:`ssl_core.training.data.protocol.Loaders`."""
    for name in ("train", "reference", "evaluation", "num_classes", "image_shape"):
        if not hasattr(loaders, name):
            raise ConfigError(
                f"data: open() returned a {type(loaders).__name__} without '{name}': see ssl_core/training/data/protocol.py"
            )
    for name in ("__len__", "__iter__", "start"):
        if not hasattr(loaders.train, name):
            raise ConfigError(f"data: the training loader has no {name}(): see ssl_core/training/data/protocol.py")
    if not isinstance(loaders.evaluation, Mapping):
        kind = type(loaders.evaluation).__name__
        raise ConfigError(f"data: evaluation is a {kind}: expected a dict, name of a data set -> its loader")
    if "train" in loaders.evaluation:
        raise ConfigError(
            "data: an evaluation set is called 'train', as the metrics of training are: choose another name"
        )


def loader_with_crops(loader: Any) -> Any:
    """Return a loader that also gives the crops of the views; raise a ConfigError if it cannot."""
    if not hasattr(loader, "with_crops"):
        raise ConfigError(
            f"data: this method needs the crops of the views, and the training loader, a {type(loader).__name__}, has no "
            "with_crops(): see ssl_core/training/data/protocol.py"
        )
    try:
        return loader.with_crops()
    except ValueError as error:  # the views are not boxes of the image
        raise ConfigError(str(error), key="data.views") from error


def training_batches(loader: Any, num_classes: int) -> Iterator[Any]:
    """Yield the rest of an epoch; raise a ConfigError when the loader ends too early."""
    yield from checked_batches(loader, "training", num_classes)
    raise ConfigError(f"data: the training loader ended before its epoch: its length is {len(loader)} batches")


def checked_batches(loader: Iterable[Any], name: str, num_classes: int, single_view: bool = False) -> Iterator[Any]:
    """Yield the batches ``(views, labels, ids)`` of a loader, and raise a ConfigError if the first one is invalid.

    ``name`` is that of the loader, for errors. Labels are -1, or in 0..K-1. ``single_view``: a batch must have one view of
    each image.
    """
    for number, batch in enumerate(loader):
        if number == 0:
            _check(batch, name, num_classes, single_view)
        yield batch


def _check(batch: Any, name: str, num_classes: int, single_view: bool) -> None:
    where = f"data: the {name} loader gives"
    if not isinstance(batch, Sequence) or not 3 <= len(batch) <= 4:
        count = f" of {len(batch)}" if isinstance(batch, Sequence) else ""
        raise ConfigError(f"{where} a {type(batch).__name__}{count} as a batch: {_BATCH}")
    views, labels, ids, *crops = batch
    views = views_of(views)
    if not isinstance(views, Sequence) or not views:
        raise ConfigError(f"{where} {describe(views)} as the views of a batch: {_BATCH}")
    for view in views:
        if not isinstance(view, Tensor) or view.ndim < 2 or not view.is_floating_point():
            raise ConfigError(f"{where} {describe(view)} as a view: {_BATCH}")
    if crops and [getattr(each, "shape", None) for each in crops[0]] != [(len(view), 5) for view in views]:
        raise ConfigError(f"{where} crops {describe(crops[0])}: expected a tensor (N, 5) for each view")
    if single_view and len(views) > 1:
        raise ConfigError(f"{where} {len(views)} views of an image: expected one, as it is evaluated")
    for what, values in (("labels", labels), ("ids", ids)):
        if not isinstance(values, Tensor) or values.dtype != int64 or values.shape != views[0].shape[:1]:
            raise ConfigError(f"{where} {describe(values)} as the {what} of {len(views[0])} images: {_BATCH}")
    low, high = (int(labels.min()), int(labels.max())) if len(labels) else (-1, -1)
    if num_classes > 0 and not -1 <= low <= high < num_classes:
        raise ConfigError(f"{where} labels from {low} to {high}: expected 0 to {num_classes - 1}, or -1 for none")
