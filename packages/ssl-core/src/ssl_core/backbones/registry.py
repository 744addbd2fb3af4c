"""Build a backbone from its name: one of this package, a ResNet of torchvision, or any model of timm."""

import inspect
import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, get_type_hints

import torch
from torch import nn

from ssl_core.backbones.named_vits import SIZES, vit
from ssl_core.backbones.resnet9 import resnet9
from ssl_core.backbones.timm_model import is_timm_model, timm_model, timm_names
from ssl_core.backbones.torchvision_resnet import torchvision_names, torchvision_resnet
from ssl_core.config.suggestion import close_names
from ssl_core.config.validation import validate_value
from ssl_core.errors import ConfigError

# name -> function of (name, image_shape); its keyword-only parameters are the options
OURS: dict[str, Callable[..., nn.Module]] = {"resnet9": resnet9, **dict.fromkeys(SIZES, vit)}
_TIMM = "timm/"


@cache
def backbone_names() -> tuple[str, ...]:
    """Return the names of this package's backbones and, if it is installed, of torchvision's ResNets; timm's are not listed."""
    return (*OURS, *torchvision_names())


def is_of_timm(name: str) -> bool:
    """Return whether a name is neither a backbone of this package nor of torchvision, so that only timm can have it."""
    return name not in OURS and name not in backbone_names()


def check_backbone(name: str, options: Mapping[str, Any] | None = None) -> None:
    """Raise a ConfigError for an unknown name, an unknown option or a wrong value; timm checks the options of its models."""
    if is_of_timm(name):
        _check_timm(name)
        return
    build = OURS.get(name, torchvision_resnet)
    hints = get_type_hints(build)
    known = {each.name: each for each in inspect.signature(build).parameters.values() if each.kind is each.KEYWORD_ONLY}
    for option, value in (options or {}).items():
        key = f"model.backbone_options.{option}"
        if option not in known:
            near = close_names(option, known)
            raise ConfigError(
                f"model.backbone={name!r} has no such option (~model.backbone_options on a command line removes those of the "
                "file)",
                key=key,
                value=value,
                expected=list(known),
                suggestion=near[0] if near else None,
            )
        lowest = 0 if known[option].default == 0 else 1  # sizes are at least 1
        error = validate_value(key, value, hints[option], {"low": lowest})
        if error:
            raise error


def build_backbone(name: str, image_shape: tuple[int, int, int], **options: Any) -> nn.Module:
    """Return a freshly initialised backbone that maps images to features.

    Parameters
    ----------
    name : str
        One of :func:`backbone_names`, or, if timm is installed, any name of timm; the prefix ``timm/`` selects timm if both
        have the name.
    image_shape : tuple of int
        ``(C, H, W)`` of the images. It determines the stem (resnets) and the patch size (ViTs).
    **options
        ``width`` (resnet9), ``zero_init_residual`` (torchvision's resnets), those of
        :class:`~ssl_core.backbones.vit.VisionTransformer` (ViTs); for timm, the arguments of ``timm.create_model``.

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
        raise ConfigError(key="image_shape", value=image_shape, expected="(channels, height, width), each at least 1")
    check_backbone(name, options)
    if is_of_timm(name):
        return timm_model(name, image_shape, options)
    return OURS.get(name, torchvision_resnet)(name, image_shape, **options)


def backbone_size(name: str, image_shape: tuple[int, int, int] = (3, 32, 32)) -> tuple[int, int]:
    """Return the number of features and of parameters of a backbone. Nothing is allocated."""
    with torch.device("meta"):
        backbone: Any = build_backbone(name, image_shape)
    return backbone.num_features, sum(parameter.numel() for parameter in backbone.parameters())


def _check_timm(name: str) -> None:
    """Raise a ConfigError for a name that is neither ours nor torchvision's, unless timm has it."""
    if is_timm_model(name.removeprefix(_TIMM)):
        return
    theirs = timm_names()
    ours = ", ".join(map(repr, backbone_names()))
    reason, expected, known = "", f"one of {ours}, or any name of timm", [*backbone_names(), *theirs]
    if not theirs:
        expected += " (after `pip install timm`)"
    elif name.startswith(_TIMM):
        reason, expected, known = "timm has no such model", "", [f"{_TIMM}{each}" for each in theirs]
    near = close_names(name, known, n=5)
    # Names of a family differ at the end: 'resnet19' means 'resnet18' rather than 'resnet9'.
    nearest = max(near, key=lambda each: len(os.path.commonprefix([each.lower(), name.lower()])), default=None)  # noqa: RUF071
    raise ConfigError(reason, key="model.backbone", value=name, expected=expected, suggestion=nearest)
