"""Losses by name, and the losses of a method: ``LOSSES["SimCLR"]`` raises an error that names ``nt_xent``."""

import re
from difflib import get_close_matches

from torch import nn

# method, in lower case without separators -> its losses, as in the first table of the README
METHODS: dict[str, tuple[str, ...]] = {
    "alignmentanduniformity": ("alignment", "uniformity"),
    "barlowtwins": ("barlow_twins",),
    "byol": ("negative_cosine_similarity",),
    "clip": ("clip",),
    "cosinesimilarity": ("negative_cosine_similarity",),
    "data2vec": ("masked_feature_regression",),
    "dcl": ("dcl",),
    "dclw": ("dclw",),
    "deepclusterv2": ("deepcluster_v2",),
    "dino": ("dino",),
    "dinov2": ("dino", "ibot", "koleo"),
    "dinov3": ("dino", "ibot", "koleo", "gram_anchoring"),
    "directclr": ("directclr",),
    "empssl": ("emp_ssl",),
    "fastsiam": ("negative_cosine_similarity",),
    "frossl": ("frossl",),
    "ibot": ("dino", "ibot"),
    "ijepa": ("masked_feature_regression",),
    "infonce": ("info_nce",),
    "lejepa": ("sigreg",),
    "macl": ("macl",),
    "mae": ("masked_reconstruction",),
    "mmcr": ("mmcr",),
    "moco": ("info_nce",),
    "mocov1": ("info_nce",),
    "mocov2": ("info_nce",),
    "mocov3": ("moco_v3",),
    "msn": ("msn",),
    "nnclr": ("nnclr",),
    "pmsn": ("pmsn",),
    "ressl": ("ressl",),
    "siglip": ("siglip",),
    "simclr": ("nt_xent",),
    "simmim": ("masked_reconstruction",),
    "simsiam": ("negative_cosine_similarity",),
    "supcon": ("supcon",),
    "swav": ("swav",),
    "tico": ("tico",),
    "vibcreg": ("vibcreg",),
    "vicreg": ("vicreg",),
    "vicregl": ("vicregl",),
    "visreg": ("visreg",),
    "wmse": ("w_mse",),
}


class LossRegistry(dict[str, type[nn.Module]]):
    """The loss modules by the name of their function. An unknown name raises ``KeyError`` with the nearest names."""

    def __missing__(self, name: str) -> type[nn.Module]:
        key = _simplified(str(name))
        names = {_simplified(loss): (loss,) for loss in self} | METHODS
        if key in names:
            hint = f"; its loss is {' + '.join(map(repr, names[key]))}"
        elif near := get_close_matches(key, names, n=1):
            hint = f"; did you mean {' + '.join(map(repr, names[near[0]]))}?"
        else:
            hint = f": expected one of {', '.join(self)}"
        raise KeyError(f"no loss is named {name!r}{hint}")


def _simplified(name: str) -> str:
    """Return a name in lower case, without separators and a final "loss"."""
    return re.sub(r"[^a-z0-9]", "", name.lower()).removesuffix("loss")
