"""Export the backbone of a run as a safetensors file.

``backbone.safetensors`` holds the tensors under the names of torchvision and timm, and metadata (strings, or JSON)::

    backbone, backbone_options   of ssl_core.backbones; missing for a user-defined backbone
    image_shape                  [C, H, W]
    mean, std                    of each channel of images in 0..1; missing if the data has none
    run, step                    name of the run, optimizer step
    format                       "pt": tensors of torch
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ssl_core.backbones import build_backbone, check_backbone
from ssl_core.backbones.timm_model import FETCHING_OPTIONS
from ssl_core.checkpoint.store import CheckpointStore, read_state
from ssl_core.checkpoint.weights_file import content_problem, first, not_finite
from ssl_core.errors import ConfigError, RunError, RunFolderError
from ssl_core.run.atomic_file import replace_atomically
from ssl_core.run.folder import RunFolder


def export_backbone(folder: str | Path, out: str | Path | None = None) -> Path:
    """Write the backbone of the newest intact checkpoint of a run, atomically; return the path.

    Parameters
    ----------
    folder : str or Path
        The run folder.
    out : str or Path, optional
        The file. Default: ``backbone.safetensors`` in the folder.

    Raises
    ------
    RunError
        If the folder is not a run, or it has no intact checkpoint, or no backbone in it.
    ConfigError
        If ``config.yaml`` names an unknown backbone.
    """
    run = RunFolder(folder)
    model = run.read_config().get("model")
    if not isinstance(model, dict):
        raise RunFolderError(f"'{run.config}' is not the configuration of a run: it has no group called model")
    checkpoint = CheckpointStore(run.checkpoints).newest()
    state = read_state(checkpoint, torch.device("cpu"))
    prefix = "backbone."
    tensors = {
        name.removeprefix(prefix): tensor.contiguous()
        for name, tensor in state["model"].items()
        if name.startswith(prefix)
    }
    if not tensors:
        raise RunError(f"'{checkpoint}' holds no backbone: the method has no module called backbone")
    facts = run.read_summary()
    metadata = {"format": "pt", "run": run.path.resolve().name, "step": str(state["progress"]["step"])}
    metadata |= {name: json.dumps(facts[name]) for name in ("image_shape", "mean", "std") if facts.get(name)}
    name = str(model.get("backbone"))
    options = {
        key: value for key, value in (model.get("backbone_options") or {}).items() if key not in FETCHING_OPTIONS
    }
    check_backbone(name, options)
    if _is_registered(name, options, facts.get("image_shape"), tensors):
        metadata |= {"backbone": name, "backbone_options": json.dumps(options)}
    path = run.backbone if out is None else Path(out)
    write_safetensors(path, tensors, metadata)
    return path


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file atomically; raise a DiskError if it cannot be written."""
    with replace_atomically(path, sum(tensor.nbytes for tensor in tensors.values())) as temporary:
        try:
            save_file(dict(tensors), temporary, metadata)
        except SafetensorError as error:
            raise OSError(0, str(error)) from error
        mask = os.umask(0)  # it can only be read by setting it
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # as all files of a run: safetensors gives nobody else the right to read


def read_metadata(path: str | Path) -> dict[str, str]:
    """Return the metadata of a safetensors file. Its tensors are not read."""
    try:
        problem = content_problem(Path(path))
        if problem is not None:
            raise ConfigError(f"'{path}': {problem}")
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"'{path}': not a safetensors file ({error})") from error


def load_exported(path: str | Path) -> nn.Module:
    """Return the backbone of a file that :func:`export_backbone` wrote, in evaluation mode.

    It is built by :func:`~ssl_core.backbones.build_backbone`: a file cannot name any other code. Raises a ConfigError
    if the weights do not fit, or are not finite.
    """
    metadata = read_metadata(path)
    if "backbone" not in metadata or "image_shape" not in metadata:
        raise ConfigError(
            f"'{path}' does not name a registered backbone: load it into your own model with "
            "safetensors.torch.load_file"
        )
    options = {
        key: value for key, value in json.loads(metadata["backbone_options"]).items() if key not in FETCHING_OPTIONS
    }
    backbone = build_backbone(metadata["backbone"], tuple(json.loads(metadata["image_shape"])), **options)
    tensors = load_file(path)
    bad = not_finite(tensors)
    if bad:
        raise ConfigError(f"'{path}' has values that are not finite: {first(bad)}; export an earlier checkpoint")
    try:
        backbone.load_state_dict(tensors)
    except RuntimeError as error:  # torch lists the keys
        raise ConfigError(
            f"'{path}' does not fit {metadata['backbone']!r}, which it names; export the run again"
        ) from error
    return backbone.eval()


def _is_registered(name: str, options: dict[str, Any], image_shape: Any, tensors: Mapping[str, Tensor]) -> bool:
    """Return whether the tensors are those of the registered backbone, not of a user-defined one."""
    if not image_shape:
        return False
    with torch.random.fork_rng(devices=[]):
        expected = build_backbone(name, tuple(image_shape), **options).state_dict()
    return {key: value.shape for key, value in expected.items()} == {key: value.shape for key, value in tensors.items()}
