"""torchvision's resnets, with a stem that fits the image, and its weights. torchvision is imported when it is used."""

from pathlib import Path
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from ssl_core.config.suggestion import unknown_name
from ssl_core.errors import ConfigError

_LARGEST_SMALL_IMAGE = 64  # pixels, the shorter side: CIFAR (32) and Tiny ImageNet (64) are small, STL10 (96) is not


def torchvision_names() -> tuple[str, ...]:
    """Return the names of torchvision's resnets; none if torchvision is not installed."""
    try:
        from torchvision.models import resnet
    except ImportError:
        return ()
    return tuple(name for name in resnet.__all__ if name.islower())


def torchvision_resnet(name: str, image_shape: tuple[int, int, int], *, zero_init_residual: bool = True) -> nn.Module:
    """Return a resnet of torchvision without its classifier. The names of the other weights are those of torchvision.

    Up to 64 pixels (the shorter side) the stem is a 3x3 convolution of stride 1 without max-pooling (SimCLR, Chen et
    al. 2020, appendix B.9), above it torchvision's own: 7x7 of stride 2 and max-pooling.

    Parameters
    ----------
    name : str
        torchvision's, e.g. ``resnet18``.
    image_shape : tuple of int
        ``(C, H, W)``; any number of channels.
    zero_init_residual : bool
        Start the last gamma of each residual branch at 0, so that every block starts as the identity (Goyal et al.
        2017, section 5.1).
    """
    from torchvision.models import resnet

    model = getattr(resnet, name)(weights=None, zero_init_residual=zero_init_residual)
    channels, height, width = image_shape
    if min(height, width) <= _LARGEST_SMALL_IMAGE:
        model.conv1 = _stem(channels, kernel_size=3, stride=1)
        model.maxpool = nn.Identity()
    elif channels != 3:
        model.conv1 = _stem(channels, kernel_size=7, stride=2)
    model.num_features = model.fc.in_features
    model.fc = nn.Identity()
    model.layer_prefixes = [("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",)]
    model.forward_dense = MethodType(_forward_dense, model)
    return model


def published_weights(backbone: str, name: str) -> Path:
    """Return the file of weights that torchvision publishes for a backbone; download it if it is not in torch's cache.

    ``name`` is torchvision's: ``DEFAULT``, ``IMAGENET1K_V1``, ... The file is checked against the digest in its name.
    Raises a ConfigError if torchvision has no such backbone or weights, or they cannot be downloaded.
    """
    from torchvision.models import get_model_weights

    try:
        entries = get_model_weights(backbone).__members__
    except ValueError as error:
        raise ConfigError(
            f"torchvision publishes no weights for {backbone!r}", key="weights", value=name, expected="a file"
        ) from error
    if name not in entries:
        raise unknown_name("weights", name, entries, "no such file, and no such weights of torchvision")
    entry = entries[name]
    try:
        entry.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # no network, or a download with the wrong digest
        raise ConfigError(
            f"{entry.url} cannot be downloaded ({error})",
            key="weights",
            value=name,
            expected=f"without a network, a file, e.g. weights={Path(entry.url).name}",
        ) from error
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name


def _forward_dense(model: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the features ``(N, D)`` and the feature map ``(N, D, h, w)`` whose mean they are."""
    x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
    feature_map = model.layer4(model.layer3(model.layer2(model.layer1(x))))
    return model.avgpool(feature_map).flatten(1), feature_map


def _stem(channels: int, kernel_size: int, stride: int) -> nn.Conv2d:
    stem = nn.Conv2d(channels, 64, kernel_size, stride, padding=kernel_size // 2, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")  # as in torchvision
    return stem
