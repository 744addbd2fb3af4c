"""FFCV's ``Loader`` as ``data.train`` of a configuration."""

from typing import TYPE_CHECKING, Any

from ssl_data.augment.presets import views
from ssl_data.errors import ArgumentError
from ssl_data.loading.ffcv_loader import FFCVLoader
from ssl_data.sources.source import Source

if TYPE_CHECKING:
    from ssl_data.config import DataConfig

_INDICES = "pass indices=... to the Loader"
_PIPELINES = "its pipelines make the views; change them"
_KEYS = {  # a key that an FFCV loader does not have, and what to do
    "views": _PIPELINES,
    "size": _PIPELINES,
    "dtype": _PIPELINES,
    "executor": _PIPELINES,
    "scaled_decoding": _PIPELINES,
    "batch_transform": "append an operation to its pipelines",
    "fraction": _INDICES,
    "per_class": _INDICES,
    "imbalance": _INDICES,
    "label_noise": "write a file with these labels",
}


def check_ffcv_keys(config: "DataConfig") -> None:
    """Raise an ArgumentError for keys that do not apply to an FFCV ``Loader``."""
    for name in _KEYS:
        value = getattr(config, name)
        if value != getattr(type(config), name):
            raise_for_key(name, value)


def raise_for_key(name: str, value: Any) -> None:
    """Raise the ArgumentError for a key."""
    raise ArgumentError(f"data.{name}", value, f"not a key of data.train, an FFCV Loader; {_KEYS[name]}")


def open_ffcv(
    config: "DataConfig", source: Source, batch_size: int, seed: int, rank: int, world_size: int
) -> tuple[FFCVLoader, list[Any], tuple[float, ...], tuple[float, ...]]:
    """Return the training loader, the views of the evaluation, and mean and deviation that they are normalized by.

    The evaluation has the size and the normalization of the first training view.

    Raises
    ------
    ValueError
        For a loader that does not fit, and for pipelines after which the evaluation view is unknown.
    """
    given = config.given
    try:
        loader = FFCVLoader(given.train, source, batch_size, seed, rank, world_size, given.image, given.label)
        (_, height, width), *_ = (
            loader.view_shapes()
        )  # a pipeline that fails is an error now, before anything is written
    except ArgumentError:
        raise
    except ValueError as error:
        raise ValueError(f"data.train: {error}") from error
    if config.eval_view is not None:
        return loader, [config.eval_view], (), ()
    normalization = loader.normalization()
    if normalization is None or height != width:
        why = "have no NormalizeImage" if normalization is None else f"give views of {height} x {width} pixels"
        raise ValueError(
            f"data.eval_view=None: the view for evaluation is unknown, since the pipelines of the FFCV Loader {why}; expected "
            "a function of an image, such as a pipeline of torchvision without random transforms"
        )
    return loader, views("evaluation", height, *normalization), *normalization
