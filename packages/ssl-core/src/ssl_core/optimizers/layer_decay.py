"""Depth of each parameter in its backbone, for ``optim.layer_decay``."""

import types
from itertools import accumulate, chain
from typing import Any

from torch import nn

from ssl_core.errors import ConfigError


def layers_above(backbone: nn.Module) -> dict[str, int]:
    """Return the number of layers above each parameter of a backbone by name; the head on the backbone counts as a layer.

    A backbone declares its layers in one of two ways:

    - ``layer_prefixes``, a sequence of tuples of names, from the image to the feature: ``[("conv1", "bn1"), ("layer1",),
      ...]``. The backbones of this package have it: the blocks of a ViT (BEiT, Bao et al. 2022,
      https://arxiv.org/abs/2106.08254; MAE, He et al. 2022, https://arxiv.org/abs/2111.06377), the stages of a ResNet. A
      parameter without a prefix (the norm after the last block) has no layer above it.
    - ``group_matcher``, as timm's models have it.

    Raises
    ------
    ConfigError
        If the backbone does not declare its layers.

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
            f"optim.layer_decay: {type(backbone).__name__} does not declare its layers; give it the attribute "
            'layer_prefixes, e.g. [("stem",), ("blocks.0",), ("blocks.1",)], from the image to the feature'
        )
    height = {name: above for above, layer in enumerate(reversed(prefixes), start=1) for name in layer}
    return {name: next((height[each] for each in _parents(name) if each in height), 0) for name in names}


def _parents(name: str) -> list[str]:
    """Return ``["a.b.c", "a.b", "a"]`` for ``"a.b.c"``."""
    return [*accumulate(name.split("."), "{}.{}".format)][::-1]


def _of_timm(backbone: Any, names: list[str]) -> dict[str, int]:
    """Return the layers as timm defines them. An extra name without a pattern represents the head, which timm puts last."""
    from timm.models import group_parameters

    head = "what is put on the backbone"
    with_head: Any = types.SimpleNamespace(named_parameters=lambda: chain(backbone.named_parameters(), [(head, None)]))
    layer = group_parameters(with_head, backbone.group_matcher(coarse=False), reverse=True)
    return {name: layer[head] - layer[name] for name in names}
