"""A baseline: a backbone without a run, random or trained elsewhere, as a run of ``epochs=0``."""

from pathlib import Path
from typing import Any

from ssl_core.backbones import check_backbone, is_of_timm
from ssl_core.backbones.torchvision_resnet import published_weights
from ssl_core.checkpoint.pretrained import find_weights
from ssl_core.checkpoint.store import sha256_of
from ssl_core.errors import ConfigError
from ssl_core.methods import method_class
from ssl_core.run.folder import RunFolder
from ssl_launch.hydra_app.build_config import build_config
from ssl_launch.hydra_app.run_name import name_of

_KEYS = {"model.backbone": "backbone", "model.init_from": "weights"}  # their names on this command line


def make_baseline(
    backbone: str, weights: str | None, settings: dict[str, Any], overrides: list[str], device: str, data: Any = None
) -> RunFolder:
    """Return the run folder of a backbone, created if it does not exist.

    Its name contains the backbone, the weights (with the beginning of their digest) and the overrides.

    Parameters
    ----------
    backbone : str
        A name of :mod:`ssl_core.backbones`, timm's among them.
    weights : str, optional
        A file or a run folder, as ``model.init_from``; or a name of torchvision's weights, of timm's ``DEFAULT`` alone, which
        are fetched. Default: random.
    settings : dict
        Group (data, model, optim, hardware, log) -> key -> value.
    overrides : list of str
        The command line.
    device : {"auto", "cpu", "cuda"}
        Where to compute.
    data : optional
        As in :func:`ssl_launch.launch`.

    Raises
    ------
    ConfigError
        For an invalid backbone, weights or settings.
    """
    try:
        return _make(backbone, weights, settings, overrides, device, data)
    except ConfigError as error:
        said = str(error)
        for key, name in _KEYS.items():
            said = said.replace(f"{key}=", f"{name}=")
        if "conv1.weight (64, 3, 7, 7), expected (64, 3, 3, 3)" in said:
            said += "; images of up to 64 pixels get a smaller stem: with data.size=224 it is the one of these weights"
        raise ConfigError(said) from error


def _make(
    backbone: str, weights: str | None, settings: dict[str, Any], overrides: list[str], device: str, data: Any
) -> RunFolder:
    model = {"name": "baseline", "backbone": backbone, **settings.get("model", {})}
    options = dict(model.get("backbone_options") or {})
    check_backbone(backbone, options)
    whose = "random"
    if weights == "DEFAULT" and is_of_timm(backbone):
        model["backbone_options"], whose = {"pretrained": True, **options}, weights
    elif weights is not None:
        model["init_from"], whose = _found(backbone, weights)
    composed = {**settings, "model": model}
    composed["optim"] = {"epochs": 0, **settings.get("optim", {})}
    composed["hardware"] = {"device": device, **settings.get("hardware", {})}
    composed["log"] = {"report": False, **settings.get("log", {})}
    config = build_config(composed, overrides, data=data)
    if "batch_size" not in composed["optim"]:  # nothing is trained: fewer images than the default are not an error
        images = len(config.data.open(1, config.hardware.seed, 0, 1).train)
        config.optim.batch_size = min(config.optim.batch_size, images)
    if config.log.run is None:
        said = [each for each in overrides if each.lstrip("+~").partition(".")[0] in settings]
        config.log.run = name_of([backbone.replace("/", "_"), whose], said)
    method_class("baseline")(config).fit()
    return RunFolder.of(config)


def _found(backbone: str, weights: str) -> tuple[str, str]:
    """Return the file of weights, and a name for them that changes with their bytes."""
    path = Path(weights)
    file = (
        find_weights(weights)
        if path.exists() or path.suffix or "/" in weights
        else published_weights(backbone, weights)
    )
    stem = path.resolve().name if path.is_dir() else file.stem
    return str(file.absolute()), f"{stem}-{sha256_of(file)[:8]}"
