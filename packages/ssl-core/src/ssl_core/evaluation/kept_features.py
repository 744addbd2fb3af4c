"""Features that are computed once and kept in ``<run>/eval`` as safetensors.

The name of a file is a digest of all that its features depend on: the checkpoint's bytes, the code of a user-defined method,
the images and their view, the precision and the versions that make the pixels.
"""

import hashlib
import json
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ssl_core.checkpoint.export import write_safetensors
from ssl_core.run.folder import RunFolder, plain_config, resume_overridable_keys
from ssl_core.run.source_location import source_of

PIXELS = ("ssl-data", "torch", "torchvision")  # packages that views and features depend on


def computed_by(model: Any, sha256: str) -> dict[str, Any]:
    """Return what the features of any images by a model depend on, besides the images: plain values.

    Parameters
    ----------
    model : BaseModel
        In a session that is open.
    sha256 : str
        Digest of its checkpoint.
    """
    config = model.config
    return {
        "checkpoint": sha256,
        "method": code_of(type(model)),
        "batch": config.optim.batch_size,  # of batched products, the last bits
        "device": model.run.distributed.device.type,
        "precision": model.run.precision.name,
        "versions": {name: _version(name) for name in PIXELS},
    }


def code_of(kind: type) -> dict[str, Any]:
    """Return the name of a method and, if it is user-defined, a digest of its code: plain values."""
    return {key: value for key, value in source_of(kind).items() if key != "file"}


def data_keys(config: Any) -> dict[str, Any]:
    """Return the keys of the data of a run that change its images or their views."""
    free = resume_overridable_keys(config)
    return {key: value for key, value in (plain_config(config).get("data") or {}).items() if f"data.{key}" not in free}


def features_file(run: RunFolder, facts: dict[str, Any]) -> Path:
    """Return the path of the features that depend on these facts: plain values."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return run.evaluations / f"features_{digest[:16]}.safetensors"


def kept_features(
    file: Path | None, compute: Callable[[], dict[str, Tensor]], images: str, names: tuple[str, ...] = ("features",)
) -> dict[str, Tensor]:
    """Return the tensors of a file; computed and written if it does not exist or is damaged.

    Parameters
    ----------
    file : Path, optional
        From :func:`features_file`. None for images without a fingerprint: the tensors are computed each time.
    compute : callable
        Returns the tensors by name.
    images : str
        What the images are, noted in the file.
    names : tuple of str
        The tensors that the file must have.

    Raises
    ------
    DiskError
        If the file cannot be written.
    """
    try:
        found = load_file(file) if file is not None and file.exists() else {}
    except (SafetensorError, OSError):
        found = {}  # damaged
    if set(names) <= found.keys():
        return found
    found = {name: tensor.cpu().contiguous() for name, tensor in compute().items()}
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_safetensors(file, found, {"images": images})
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
