"""The backbone of a run as one file for anybody: ``python3 -m ssl_core.checkpoint.export FOLDER [--out FILE]``.

``backbone.safetensors`` holds the tensors under the names that torchvision's and timm's models have, and in its metadata
(strings, JSON where it is more than a word) what is needed to use them:

    backbone, backbone_options   of ssl_core.backbones; missing where the method has a backbone of its own
    image_shape                  [C, H, W]
    mean, std                    of each channel, as the images (0 to 1) were normalised; missing where the data does not say
    run, step                    where and when it was trained
    format                       "pt": tensors of torch
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_core.backbones import build_backbone, check_backbone
from ssl_core.errors import ConfigError, RunError, RunFolderError
from ssl_core.run.atomic_file import disk_error

if TYPE_CHECKING:
    from torch import Tensor, nn

HELP = "write the backbone of a run as a safetensors file"
# Options of timm.create_model that fetch weights instead of describing a model: ours are in the file
_FETCHING = {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"}


def export_backbone(folder: str | Path, out: str | Path | None = None) -> Path:
    """Write the backbone of a run's newest whole checkpoint.

    Parameters
    ----------
    folder : str or Path
        The run's.
    out : str or Path, optional
        The file. Default: ``backbone.safetensors`` in the folder.

    Returns
    -------
    Path
        Of the file, which is there as a whole or not at all.

    Raises
    ------
    RunError
        If there is no run, no whole checkpoint, or no backbone in it.
    ConfigError
        (a ValueError) If ``config.yaml`` names a backbone that there is none of.
    """
    import torch

    from ssl_core.checkpoint.store import CheckpointStore, read_state
    from ssl_core.run.folder import RunFolder

    run = RunFolder(folder)
    model = run.read_config().get("model")
    if not isinstance(model, dict):
        raise RunFolderError(f"'{run.config}' is of no run: it has no group called model")
    checkpoint = CheckpointStore(run.checkpoints).newest()
    state = read_state(checkpoint, torch.device("cpu"))
    prefix = "backbone."
    tensors = {
        name.removeprefix(prefix): tensor.contiguous()
        for name, tensor in state["model"].items()
        if name.startswith(prefix)
    }
    if not tensors:
        raise RunError(f"'{checkpoint}' holds no backbone: the method has no module of this name")
    facts = run.read_summary()
    metadata = {"format": "pt", "run": run.path.resolve().name, "step": str(state["progress"]["step"])}
    metadata |= {name: json.dumps(facts[name]) for name in ("image_shape", "mean", "std") if facts.get(name)}
    name = str(model.get("backbone"))
    options = {key: value for key, value in (model.get("backbone_options") or {}).items() if key not in _FETCHING}
    check_backbone(name, options)
    if _is_of_catalogue(name, options, facts.get("image_shape"), tensors):
        metadata |= {"backbone": name, "backbone_options": json.dumps(options)}
    path = run.backbone if out is None else Path(out)
    write_safetensors(path, tensors, metadata)
    return path


def write_safetensors(path: Path, tensors: "Mapping[str, Tensor]", metadata: dict[str, str]) -> None:
    """Write tensors beside ``path``, make them safe on the disk, then take the name.

    Raises
    ------
    DiskError
        If the disk refuses.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    temporary = path.with_name(f".{path.name}.tmp")
    try:
        save_file(dict(tensors), temporary, metadata)
        mask = os.umask(0)  # it can only be read by setting it
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)  # like all other files of a run: safetensors lets nobody else read its own
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise disk_error(path, sum(each.nbytes for each in tensors.values()), str(error)) from error


def read_metadata(path: str | Path) -> dict[str, str]:
    """Return what a safetensors file says about its tensors; they are not read."""
    from safetensors import SafetensorError, safe_open

    from ssl_core.checkpoint.weights_file import content_problem

    try:
        problem = content_problem(Path(path))
        if problem is not None:
            raise ConfigError(f"'{path}': {problem}")
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"'{path}': no safetensors file ({error})") from error


def load_exported(path: str | Path) -> "nn.Module":
    """Return the backbone of a file that :func:`export_backbone` has written, in evaluation mode.

    Its name is looked up in the catalogue (:func:`~ssl_core.backbones.build_backbone`): a file cannot name any other code.

    Raises
    ------
    ConfigError
        (a ValueError) If the file is none of these, does not name a backbone of the catalogue, does not fit it, or holds
        values that are not finite.
    """
    from safetensors.torch import load_file

    from ssl_core.checkpoint.weights_file import first, not_finite

    metadata = read_metadata(path)
    if "backbone" not in metadata or "image_shape" not in metadata:
        raise ConfigError(
            f"'{path}' does not say which backbone of the catalogue it is: load it into your own model with "
            "safetensors.torch.load_file"
        )
    options = {key: value for key, value in json.loads(metadata["backbone_options"]).items() if key not in _FETCHING}
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


def _is_of_catalogue(name: str, options: dict[str, Any], image_shape: Any, tensors: "Mapping[str, Tensor]") -> bool:
    """Return whether tensors are those of this backbone; else the method has built one of its own."""
    import torch

    if not image_shape:
        return False
    with torch.random.fork_rng(devices=[]):
        expected = build_backbone(name, tuple(image_shape), **options).state_dict()
    return {key: value.shape for key, value in expected.items()} == {key: value.shape for key, value in tensors.items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add those of this command."""
    parser.add_argument("folder", metavar="FOLDER", help="a run folder")
    parser.add_argument("--out", metavar="FILE", help="default: backbone.safetensors in the folder")


def run(arguments: argparse.Namespace) -> int:
    """Export, and say what; return the exit code."""
    try:
        path = export_backbone(arguments.folder, arguments.out)
    except (ConfigError, RunError) as error:
        print(error, file=sys.stderr)
        return error.exit_code
    metadata = read_metadata(path)
    print(f"{path}: {metadata.get('backbone', 'a backbone of its own')}, step {metadata['step']}")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command with these arguments, or with those of the command line."""
    parser = argparse.ArgumentParser(prog="python3 -m ssl_core.checkpoint.export", description=HELP)
    add_arguments(parser)
    return run(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
