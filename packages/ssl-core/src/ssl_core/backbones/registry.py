"""From a name to a backbone. Only the family that is asked for is imported, and nothing to check a configuration."""

import os
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from ssl_core.backbones.timm_names import is_timm, timm_names
from ssl_core.config.suggestion import close_names
from ssl_core.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

# Written down so that a configuration is checked without importing torchvision; a test compares it with torchvision's.
_TORCHVISION = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
)
# name -> (module of this package, function)
_HOME = {
    "resnet9": ("resnet9", "resnet9"),
    **dict.fromkeys(_TORCHVISION, ("torchvision_resnet", "torchvision_resnet")),
    "vit_tiny": ("vit", "vit_tiny"),
    "vit_small": ("vit", "vit_small"),
}
# name -> option -> what it may be: the keyword-only parameters of the function, written down for the same reason
_VIT = {"patch_size": int | None, "pool": Literal["class", "mean"]}
_OPTIONS: dict[str, dict[str, Any]] = {
    "resnet9": {"width": int},
    **{name: {"zero_init_residual": bool} for name in _TORCHVISION},
    "vit_tiny": _VIT,
    "vit_small": _VIT,
}
_TIMM = "timm/"


def backbone_names() -> tuple[str, ...]:
    """Return the names that are always there, without importing torch: ours and torchvision's, not timm's."""
    return tuple(_HOME)


def is_of_timm(name: str) -> bool:
    """Say whether a name is timm's to build, if anybody's: one that is none of ours."""
    return name not in _HOME


def check_backbone(name: str, options: Mapping[str, Any] | None = None) -> None:
    """Refuse what :func:`build_backbone` would refuse whatever the images. Imports neither torch nor timm.

    Raises
    ------
    ConfigError
        If the name is neither ours nor timm's, or for an option that ours does not have or a value that it cannot have;
        timm's options are timm's to refuse.
    """
    if name not in _HOME:
        _check_timm(name)
    elif options:
        _check_options(name, options)


def build_backbone(name: str, image_shape: tuple[int, int, int], **options: Any) -> "nn.Module":
    """Return a freshly initialised backbone that maps images to features.

    Parameters
    ----------
    name : str
        One of :func:`backbone_names`, or, if timm is installed, any name of timm; ``timm/`` in front of it says that
        timm's is meant where both have the name.
    image_shape : tuple of int
        ``(C, H, W)`` of the images. It decides on the stem (resnets) and on the patch size (ViTs).
    **options
        The backbone's own: ``width`` (resnet9), ``zero_init_residual`` (torchvision's resnets), ``patch_size`` and
        ``pool`` (ViTs); timm's go to ``timm.create_model`` as they are.

    Returns
    -------
    nn.Module
        ``(N, C, H, W) float`` to ``(N, num_features) float``; ``num_features`` is an attribute.

    Raises
    ------
    ConfigError
        (a ValueError) For an unknown name or option, or an image that the backbone cannot take.

    Examples
    --------
    >>> import torch
    >>> backbone = build_backbone("resnet9", (1, 16, 16), width=8)
    >>> backbone.num_features, backbone(torch.zeros(4, 1, 16, 16)).shape
    (64, torch.Size([4, 64]))
    """
    if len(image_shape) != 3 or min(image_shape) < 1:
        raise ConfigError(f"image_shape={image_shape!r}: expected (channels, height, width), each at least 1")
    if name not in _HOME:
        _check_timm(name)
        from ssl_core.backbones.timm_model import timm_model

        return timm_model(name, image_shape, options)
    _check_options(name, options)
    module, function = _HOME[name]
    return getattr(import_module(f"ssl_core.backbones.{module}"), function)(name, image_shape, **options)


def _check_options(name: str, options: Mapping[str, Any]) -> None:
    known = list(_OPTIONS[name])
    for option in options:
        if option not in known:
            raise ConfigError(
                f"model.backbone_options.{option}={options[option]!r}: model.backbone={name!r} has no such option; "
                f"expected one of {_quoted(known)}{_did_you_mean(option, known)} (~model.backbone_options on a command line "
                "removes those of the file)"
            )
        expected = _expected(_OPTIONS[name][option], options[option])
        if expected:
            raise ConfigError(f"model.backbone_options.{option}={options[option]!r}: expected {expected}")


def _expected(annotation: Any, value: Any) -> str | None:
    """Return what an option must be instead of ``value``; None where it may be that. Integers are sizes: at least 1."""
    members = [annotation] if get_origin(annotation) is Literal else get_args(annotation) or [annotation]
    if value is None and type(None) in members:
        return None
    (kind,) = (member for member in members if member is not type(None))
    if get_origin(kind) is Literal:
        return None if value in get_args(kind) else f"one of {_quoted(get_args(kind))}"
    if kind is bool:
        return None if isinstance(value, bool) else "true or false"
    assert kind is int, kind
    return None if type(value) is int and value >= 1 else "an integer of at least 1"


def _check_timm(name: str) -> None:
    """Refuse a name that is none of ours unless timm is there and knows it."""
    if is_timm(name.removeprefix(_TIMM)):
        return
    theirs = timm_names()
    if not theirs:
        hint = _did_you_mean(name, backbone_names())
        raise ConfigError(
            f"model.backbone={name!r}: expected one of {_quoted(backbone_names())}{hint} "
            "(timm's names work after `pip install timm`)"
        )
    if name.startswith(_TIMM):
        names = [f"{_TIMM}{each}" for each in theirs]
        raise ConfigError(f"model.backbone={name!r}: timm has no such model{_did_you_mean(name, names)}")
    raise ConfigError(
        f"model.backbone={name!r}: expected one of {_quoted(backbone_names())}, or any name of timm"
        f"{_did_you_mean(name, [*backbone_names(), *theirs])}"
    )


def _quoted(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(repr(name) for name in names)


def _did_you_mean(given: str, names: list[str] | tuple[str, ...]) -> str:
    near = close_names(given, names, n=5)
    if not near:
        return ""
    # Names of a family differ at the end: 'resnet19' means 'resnet18' rather than 'resnet9'.
    nearest = max(near, key=lambda name: len(os.path.commonprefix([name.lower(), given.lower()])))  # noqa: RUF071
    return f"; did you mean {nearest!r}?"
