"""The methods by name. A method is a subclass of :class:`~ssl_core.BaseModel`; its keys are in the dataclass above it.

A method and its module are imported when the method is used, because that imports torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ssl_core.config.suggestion import unknown_name

if TYPE_CHECKING:
    from ssl_core.base_model import BaseModel

# model.name -> "module:class"
METHODS: dict[str, str] = {
    "aim": "ssl_core.methods.aim:AIM",
    "all4one": "ssl_core.methods.all4one:All4One",
    "barlow_twins": "ssl_core.methods.barlow_twins:BarlowTwins",
    "baseline": "ssl_core.methods.baseline:Baseline",
    "byol": "ssl_core.methods.byol:BYOL",
    "capi": "ssl_core.methods.capi:CAPI",
    "cmae": "ssl_core.methods.cmae:CMAE",
    "data2vec": "ssl_core.methods.data2vec:Data2Vec",
    "dcl": "ssl_core.methods.dcl:DCL",
    "deepcluster_v2": "ssl_core.methods.deepcluster_v2:DeepClusterV2",
    "densecl": "ssl_core.methods.densecl:DenseCL",
    "dino": "ssl_core.methods.dino:DINO",
    "dinov2": "ssl_core.methods.dinov2:DINOv2",
    "dinov3": "ssl_core.methods.dinov3:DINOv3",
    "directclr": "ssl_core.methods.directclr:DirectCLR",
    "emp_ssl": "ssl_core.methods.emp_ssl:EMPSSL",
    "fastsiam": "ssl_core.methods.fastsiam:FastSiam",
    "frossl": "ssl_core.methods.frossl:FroSSL",
    "i_jepa": "ssl_core.methods.i_jepa:IJEPA",
    "ibot": "ssl_core.methods.ibot:IBOT",
    "jigsaw": "ssl_core.methods.jigsaw:Jigsaw",
    "lejepa": "ssl_core.methods.lejepa:LeJEPA",
    "macl": "ssl_core.methods.macl:MACL",
    "mae": "ssl_core.methods.mae:MAE",
    "maskfeat": "ssl_core.methods.maskfeat:MaskFeat",
    "mmcr": "ssl_core.methods.mmcr:MMCR",
    "moco_v2": "ssl_core.methods.moco_v2:MoCoV2",
    "moco_v3": "ssl_core.methods.moco_v3:MoCoV3",
    "msn": "ssl_core.methods.msn:MSN",
    "nepa": "ssl_core.methods.nepa:NEPA",
    "nnbyol": "ssl_core.methods.nnbyol:NNBYOL",
    "nnclr": "ssl_core.methods.nnclr:NNCLR",
    "pirl": "ssl_core.methods.pirl:PIRL",
    "pmsn": "ssl_core.methods.pmsn:PMSN",
    "ressl": "ssl_core.methods.ressl:ReSSL",
    "rotnet": "ssl_core.methods.rotnet:RotNet",
    "salt": "ssl_core.methods.salt:SALT",
    "simclr": "ssl_core.methods.simclr:SimCLR",
    "simmim": "ssl_core.methods.simmim:SimMIM",
    "simsiam": "ssl_core.methods.simsiam:SimSiam",
    "smog": "ssl_core.methods.smog:SMoG",
    "supcon": "ssl_core.methods.supcon:SupCon",
    "supervised": "ssl_core.methods.supervised:Supervised",
    "swav": "ssl_core.methods.swav:SwAV",
    "tico": "ssl_core.methods.tico:TiCo",
    "vibcreg": "ssl_core.methods.vibcreg:VIbCReg",
    "vicreg": "ssl_core.methods.vicreg:VICReg",
    "vicregl": "ssl_core.methods.vicregl:VICRegL",
    "visreg": "ssl_core.methods.visreg:VISReg",
    "w_mse": "ssl_core.methods.w_mse:WMSE",
}


def method_class(name: str) -> "type[BaseModel]":
    """Return the class of a method; its ``config_class`` is the dataclass of its keys.

    Raises
    ------
    ConfigError
        If ``name`` is not in :data:`METHODS`.
    """
    if name not in METHODS:
        raise unknown_name("model.name", name, METHODS, listed_by="stable-ssl list methods")
    return _load(METHODS[name])


def _load(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


def __getattr__(name: str) -> Any:  # from ssl_core.methods import SimCLR
    for place in METHODS.values():
        if place.endswith(f":{name}"):
            return _load(place)
    raise AttributeError(f"module 'ssl_core.methods' has no attribute {name!r}")
