"""Any model of timm, as a backbone."""

from typing import Any

import torch
from torch import nn

from ssl_core.errors import ConfigError


def timm_model(name: str, image_shape: tuple[int, int, int], options: dict[str, Any]) -> nn.Module:
    """Return a model of timm without its classifier, made for images of this shape.

    Parameters
    ----------
    name : str
        As in ``timm.list_models()``, with or without ``timm/`` in front.
    image_shape : tuple of int
        ``(C, H, W)``; models of a fixed input size are built for this one.
    options : dict
        Passed to ``timm.create_model`` as they are. Weights are random unless ``pretrained=True`` is among them.

    Raises
    ------
    ConfigError
        If timm refuses the options or the image, or if the model does not give one feature vector an image.
    """
    import timm

    channels, height, width = image_shape
    chosen: dict[str, Any] = {"num_classes": 0, "in_chans": channels}
    theirs = name.removeprefix("timm/")
    configuration = timm.get_pretrained_cfg(theirs)
    if configuration is not None and configuration.fixed_input_size:
        chosen["img_size"] = (height, width)
    try:
        model: Any = timm.create_model(theirs, **chosen | options)
    except (TypeError, AssertionError, RuntimeError) as error:
        raise ConfigError(
            f"model.backbone={name!r}: timm cannot build it with model.backbone_options={options} for images "
            f"{channels} x {height} x {width}: {error}"
        ) from error
    except OSError as error:  # huggingface_hub's, of weights that are neither in its cache nor to be had
        raise ConfigError(
            f"model.backbone={name!r}: its weights cannot be fetched: {error}; without a network take random ones, or "
            "those of a file"
        ) from error
    model.num_features = _width(name, model, image_shape)  # timm's own excludes a hidden layer behind the pooling
    return model


def _width(name: str, model: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Return the width of the features, from one forward pass in evaluation mode, which leaves the model as it was."""
    model.eval()
    try:
        with torch.no_grad():
            features = model(torch.zeros(1, *image_shape))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"model.backbone={name!r} cannot take images {image_shape}: {error}") from error
    if not isinstance(features, torch.Tensor) or features.ndim != 2:
        raise ConfigError(f"model.backbone={name!r} does not give one feature vector an image; choose another")
    model.train()
    return features.shape[1]
