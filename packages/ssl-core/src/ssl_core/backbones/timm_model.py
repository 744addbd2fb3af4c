"""Any model of timm as a backbone. timm is optional: it is imported when one of its names is used."""

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from ssl_core.backbones.timm_vit import MODULES, add_vit_methods
from ssl_core.errors import ConfigError

# Options of timm.create_model that download weights
FETCHING_OPTIONS = {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"}


def timm_names() -> list[str]:
    """Return the names of timm's models; none if timm is not installed."""
    try:
        import timm
    except ImportError:
        return []
    return timm.list_models()


def is_timm_model(name: str) -> bool:
    """Return whether timm has a model of this name; the part after a dot names weights, ``resnet18.tv_in1k``."""
    try:
        import timm
    except ImportError:
        return False
    return timm.is_model(name)


def is_timm_vit(name: str) -> bool:
    """Return whether a name of timm, with or without ``timm/`` in front, is a ViT with the methods of ours."""
    import timm

    entry = name.removeprefix("timm/").partition(".")[0]
    return is_timm_model(entry) and timm.models.model_entrypoint(entry).__module__ in MODULES


def timm_model(name: str, image_shape: tuple[int, int, int], options: dict[str, Any]) -> nn.Module:
    """Return a model of timm without its classifier, for images ``(C, H, W)``; models of a fixed size are built for this one.

    ``options`` are passed to ``timm.create_model``. Weights are random unless ``pretrained=True`` is among them. Raises a
    ConfigError if timm does not accept the options or the image, or the model does not return one feature vector for each
    image.
    """
    import timm

    channels, height, width = image_shape
    arguments: dict[str, Any] = {"num_classes": 0, "in_chans": channels}
    timm_name = name.removeprefix("timm/")
    configuration = timm.get_pretrained_cfg(timm_name)
    if configuration is not None and configuration.fixed_input_size:
        arguments["img_size"] = (height, width)
    if is_timm_vit(name):
        arguments["dynamic_img_size"] = True  # multi-crop: positions of another size are interpolated
    try:
        model: Any = timm.create_model(timm_name, **arguments | options)
    except (TypeError, AssertionError, RuntimeError) as error:
        raise ConfigError(
            f"timm cannot build it with model.backbone_options={options} for images {channels} x {height} x {width}: {error}",
            key="model.backbone",
            value=name,
        ) from error
    except OSError as error:  # huggingface_hub: the weights are not in its cache and cannot be downloaded
        raise ConfigError(
            f"the weights cannot be downloaded: {str(error).rstrip('.')}; without a network use random weights or a file",
            key="model.backbone",
            value=name,
        ) from error
    model.num_features = _width(name, model, image_shape)  # timm's own excludes a hidden layer behind the pooling
    add_vit_methods(model)
    if not hasattr(model, "forward_dense"):
        _add_feature_map(model, image_shape)
    return model


def _width(name: str, model: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Return the width of the features, from one forward pass in evaluation mode, which does not change the model."""
    model.eval()
    try:
        with torch.no_grad():
            features = model(torch.zeros(1, *image_shape))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"images {image_shape} do not fit: {error}", key="model.backbone", value=name) from error
    if not isinstance(features, torch.Tensor) or features.ndim != 2:
        raise ConfigError(key="model.backbone", value=name, expected="a model with one feature vector for each image")
    model.train()
    return features.shape[1]


def _add_feature_map(model: Any, image_shape: tuple[int, int, int]) -> None:
    """Give a convolutional model of timm ``forward_dense``, if its feature map is ``(N, num_features, h, w)``."""
    with torch.no_grad():
        feature_map = model.eval().forward_features(torch.zeros(1, *image_shape))
    model.train()
    if isinstance(feature_map, Tensor) and feature_map.ndim == 4 and feature_map.shape[1] == model.num_features:
        model.forward_dense = MethodType(_forward_dense, model)


def _forward_dense(model: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the features ``(N, D)`` and the feature map ``(N, D, h, w)`` that they are pooled from."""
    feature_map = model.forward_features(x)
    return model.forward_head(feature_map), feature_map
