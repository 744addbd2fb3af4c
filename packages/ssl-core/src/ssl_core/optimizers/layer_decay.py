"""How deep a parameter lies in its backbone: what a learning rate that decays layer by layer goes by."""

import types
from itertools import chain
from typing import Any

from torch import nn

from ssl_core.errors import ConfigError


def layers_above(backbone: nn.Module) -> dict[str, int]:
    """Return, for each parameter of a backbone, how many layers lie above it; what is put on the backbone counts as one.

    A backbone says what its layers are in one of two ways:

    - ``layer_prefixes``, a sequence of tuples of names, from the image to the feature: ``[("conv1", "bn1"), ("layer1",),
      ...]``. Those of this package have it: a ViT its blocks (BEiT, Bao et al. 2022, https://arxiv.org/abs/2106.08254;
      MAE, He et al. 2022, https://arxiv.org/abs/2111.06377), a resnet its stages. A parameter that no prefix is for (the
      norm after the last block) has none above it.
    - ``group_matcher``, as timm's models have it: the layers are timm's own.

    Parameters
    ----------
    backbone : nn.Module

    Returns
    -------
    dict
        Name of a parameter in ``backbone`` -> 0 and more.

    Raises
    ------
    ConfigError
        (a ValueError) If the backbone does not say.

    Examples
    --------
    >>> backbone = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False), nn.LayerNorm(4, bias=False))
    >>> backbone.layer_prefixes = [("0",), ("1",)]
    >>> layers_above(backbone)
    {'0.weight': 2, '1.weight': 1, '2.weight': 0}
    """
    names = [name for name, _ in backbone.named_parameters()]
    if hasattr(backbone, "group_matcher"):
        return _of_timm(backbone, names)
    prefixes: Any = getattr(backbone, "layer_prefixes", None)
    if prefixes is None:
        raise ConfigError(
            f"optim.layer_decay: {type(backbone).__name__} does not say what its layers are; give it the attribute "
            'layer_prefixes, e.g. [("stem",), ("blocks.0",), ("blocks.1",)], from the image to the feature'
        )
    height = {name: above for above, layer in enumerate(reversed(prefixes), start=1) for name in layer}
    return {name: next((height[each] for each in _parents(name) if each in height), 0) for name in names}


def _parents(name: str) -> list[str]:
    """``"a.b.c"`` as ``["a.b.c", "a.b", "a"]``."""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(len(parts), 0, -1)]


def _of_timm(backbone: Any, names: list[str]) -> dict[str, int]:
    """Return the layers of timm; a name that no pattern is for stands for the head, which timm puts last."""
    from timm.models import group_parameters

    head = "what is put on the backbone"
    with_head: Any = types.SimpleNamespace(named_parameters=lambda: chain(backbone.named_parameters(), [(head, None)]))
    layer = group_parameters(with_head, backbone.group_matcher(coarse=False), reverse=True)
    return {name: layer[head] - layer[name] for name in names}
