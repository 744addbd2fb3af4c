"""What a method requires of the configuration, checked before any data is opened."""

import dataclasses
import math
from typing import Any

import torch

from ssl_core.backbones.timm_model import FETCHING_OPTIONS
from ssl_core.config import Config
from ssl_core.config.validation import full_keys
from ssl_core.errors import ConfigError
from ssl_core.modules.masks.patch_masks import num_masked
from ssl_core.modules.pretext.jigsaw import patch_edge

ANY_IMAGE = (3, 224, 224)  # stands for the images where their size is known only when the data is open


def view_sizes(data: Any) -> list[int | None]:
    """Return the side in pixels of each view, None where unknown; an empty list if the data does not tell.

    See :mod:`ssl_core.training.data.protocol`.
    """
    return data.view_sizes() if hasattr(data, "view_sizes") else []


def check_views(
    config: Config, num_views: int | None, min_views: int, multi_crop: bool, joins_globals: bool = False
) -> None:
    """Raise a ConfigError for views that the method does not take.

    Parameters
    ----------
    config : Config
        The configuration. Data without ``view_sizes()`` is not checked.
    num_views : int or None
        Number of views of an image; None: ``min_views`` or more.
    min_views : int
        Smallest number of views.
    multi_crop : bool
        Whether the views may have several sizes.
    joins_globals : bool
        Whether the first ``model.global_views`` views must have one size.
    """
    sizes = view_sizes(config.data)
    if not sizes:
        return
    check_num_views(config, len(sizes), num_views, min_views)
    first = sizes[: getattr(config.model, "global_views", None) or 0]
    if joins_globals and len(set(first)) > 1:
        raise ConfigError(
            f"views of {_listed(first)} pixels",
            key="model.global_views",
            value=len(first),
            expected="views of one size",
        )
    if not multi_crop and len(set(sizes)) > 1:
        raise ConfigError(
            f"views of {_listed(sorted({size for size in sizes if size}))} pixels",
            key="data.views",
            value=getattr(config.data, "views", "?"),
            expected=f"views of one size for model.name={config.model.name!r}",
        )


def check_num_views(config: Config, found: int, num_views: int | None, min_views: int) -> None:
    """Raise a ConfigError for a wrong number of views of an image, or one below ``model.global_views``."""
    if found < min_views or num_views not in (None, found):
        raise views_error(config, found, num_views, min_views)
    if (getattr(config.model, "global_views", None) or 0) > found:
        raise ConfigError(
            key="model.global_views",
            value=config.model.global_views,
            expected=f"at most the {found} views of an image that data.views gives",
        )


def views_error(config: Config, found: int, num_views: int | None, min_views: int) -> ConfigError:
    """Return the error for a wrong number of views of an image."""
    wanted = f"{num_views or f'{min_views} or more'} view{'s' if max(num_views or min_views, 1) > 1 else ''}"
    preset = {1: "; data.views=mae gives one", 2: "; data.views=simclr gives two"}.get(num_views or min_views, "")
    return ConfigError(
        f"{found} view{'s' if found > 1 else ''} of an image",
        key="data.views",
        value=getattr(config.data, "views", "?"),
        expected=f"{wanted} for model.name={config.model.name!r}{preset}",
    )


def check_queue(config: Config) -> None:
    """Raise a ConfigError for a queue that is smaller than a batch: it would hold a part of the last batch only."""
    size, optim = getattr(config.model, "queue_size", 0), config.optim
    samples = optim.batch_size * optim.accumulation_steps
    if optim.epochs and 0 < size < samples:
        raise ConfigError(
            key="model.queue_size",
            value=size,
            expected=f"at least the {samples} samples of an optimizer step (optim.batch_size={optim.batch_size})",
        )


def check_layers(key: str, widths: list[int], example: list[int]) -> None:
    """Raise a ConfigError for a head without layers."""
    if not widths:
        raise ConfigError(key=key, value=[], expected=f"at least one width, e.g. {example}")


def check_labels(method: str, num_classes: int) -> None:
    """Raise a ConfigError if the training data of a supervised method has fewer than two classes."""
    if num_classes < 2:
        raise ConfigError(
            f"the training data has {'no labels' if num_classes == 0 else 'one class only'}",
            key="model.name",
            value=method,
            expected="at least two classes; for images without labels choose a self-supervised method, e.g. "
            "model.name=simclr",
        )


def check_modules(kind: Any, config: Config) -> None:
    """Build the modules of a method without memory (on torch's device ``meta``), which raises for options that do not fit.

    The backbone is also checked against the sizes of all views, and the patches of a ViT against the share that is masked.
    """
    side = next(iter(view_sizes(config.data)), None)
    options = {name: value for name, value in config.model.backbone_options.items() if name not in FETCHING_OPTIONS}
    model = kind(dataclasses.replace(config, model=dataclasses.replace(config.model, backbone_options=options)))
    model.image_shape, model.num_classes = (3, side, side) if side else ANY_IMAGE, 2
    with torch.device("meta"), full_keys("model", config.model):  # of the options of a loss
        model.initialize_modules()
    ratio = getattr(config.model, "mask_ratio", None)
    if hasattr(config.model, "mask_ratio_spread"):  # drawn for each image, and images without a mask are allowed
        ratio = None
    grid = getattr(model, "grid", getattr(model.backbone, "grid", None))  # CMAE masks a smaller one
    if side and grid and ratio is not None and num_masked(grid, ratio) == 0:
        raise ConfigError(
            key="model.mask_ratio",
            value=ratio,
            expected=f"a share that masks at least one of {math.prod(grid)} patches",
        )
    check_sizes(model, config)


def check_sizes(model: Any, config: Config) -> None:
    """Raise a ConfigError if the backbone, on torch's device ``meta``, cannot process the views or the patches of a puzzle."""
    patch_size = getattr(model.backbone, "patch_size", None)
    sizes = [size for size in dict.fromkeys(view_sizes(config.data)) if size]
    for size in sizes:
        if patch_size and size % patch_size:
            raise ConfigError(
                key="model.backbone_options.patch_size",
                value=patch_size,
                expected=f"a number of pixels that divides all views: {_listed(view_sizes(config.data))}",
            )
        if reason := _forward_error(model.backbone, size):
            raise ConfigError(
                f"model.backbone={config.model.backbone!r} cannot process views of {size} pixels: {reason}",
                key="data.views",
                value=getattr(config.data, "views", "?"),
                expected="larger views, e.g. a larger data.size",
            )
    if model.puzzle_share and sizes:
        size = getattr(config.model, "patch_size", None) or patch_edge(sizes[0], model.puzzle_share)
        if reason := _forward_error(model.backbone, size):
            raise ConfigError(
                f"model.backbone={config.model.backbone!r} cannot process patches of {size} pixels: {reason}",
                key="model.patch_size",
                value=getattr(config.model, "patch_size", None),
                expected=f"a larger number of pixels, to which the patches are resized, or views of more than {sizes[0]} "
                "pixels (data.size)",
            )


def _forward_error(backbone: Any, size: int) -> str:
    """Return why a backbone cannot process images of this size, the first line; an empty string if it can."""
    try:
        with torch.no_grad():
            backbone.eval()(torch.empty(2, 3, size, size, device="meta"))
    except NotImplementedError:  # an operation that torch has not on this device: unknown
        return ""
    except (AssertionError, RuntimeError, ValueError) as error:
        return str(error).partition("\n")[0]
    return ""


def _listed(numbers: list[Any]) -> str:
    return ", ".join(map(str, dict.fromkeys(numbers)))
