"""The weights a run begins with: a backbone out of another run, or out of a file."""

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ssl_core.checkpoints import Checkpoints, is_checkpoint, load_tensors, read_state, sha256_of
from ssl_core.errors import CheckpointError, ConfigError
from ssl_core.run_folder import RunFolder

_message = logging.getLogger(__name__)
_PREFIX = "backbone."


def find_weights(source: str) -> Path:
    """Return the file of weights that ``model.init_from`` means: of a run folder its newest whole checkpoint.

    Raises
    ------
    ConfigError
        (a ValueError) If there is none.
    """
    path = Path(source)
    if path.is_file():
        return path
    if not path.is_dir():
        raise ConfigError(f"model.init_from={source!r}: there is no such file or run folder")
    try:
        return Checkpoints(RunFolder(path).checkpoints).newest()
    except CheckpointError as error:
        raise ConfigError(f"model.init_from={source!r}: {error}") from error


def load_backbone(backbone: nn.Module | None, source: str) -> dict[str, str]:
    """Give a backbone the weights of another one: all of them, or none.

    Parameters
    ----------
    backbone : nn.Module
        Its parameters and buffers are filled in place.
    source : str
        ``model.init_from``: a run folder, one of its checkpoints (with its ``.sha256``), a ``.safetensors`` file, or a file
        that ``torch.save`` has made of a state dict (torchvision's). Keys that begin with ``backbone.`` are the backbone's;
        where there are none, all are. Weights of a classifier for which the backbone has nothing any more are left out,
        and named in the log.

    Returns
    -------
    dict
        ``{"file": its path, "sha256": of its bytes}``, for the record.

    Raises
    ------
    ConfigError
        (a ValueError) If the file is not there, cannot be read, or does not fit: each key that is missing, unexpected or
        of another shape is named, and the backbone is as it was.
    """
    path, weights, classifier = weights_for(backbone, source)
    assert backbone is not None
    backbone.load_state_dict(weights)
    left_out = f"; the classifier's are left out: {', '.join(classifier)}" if classifier else ""
    _message.info("the backbone begins with the %d tensors of %s%s", len(weights), path, left_out)
    return {"file": str(path), "sha256": sha256_of(path)}


def weights_for(backbone: nn.Module | None, source: str) -> tuple[Path, dict[str, Tensor], list[str]]:
    """Return the file that :func:`load_backbone` means, what it would load, and the classifier's keys that it would leave out.

    Raises
    ------
    ConfigError
        (a ValueError) As :func:`load_backbone`.
    """
    if backbone is None:
        raise ConfigError(f"model.init_from={source!r}: the method has no module called backbone to load it into")
    path = find_weights(source)
    try:
        found = _read(path)
    except (CheckpointError, OSError) as error:
        raise ConfigError(f"model.init_from={source!r}: {error}") from error
    if any(key.startswith(_PREFIX) for key in found):
        found = {key.removeprefix(_PREFIX): tensor for key, tensor in found.items() if key.startswith(_PREFIX)}
    expected = backbone.state_dict()
    gone = [f"{name}." for name, module in backbone.named_modules() if isinstance(module, nn.Identity)]
    classifier = [key for key in found if key not in expected and key.startswith(tuple(gone))]
    weights = {key: tensor for key, tensor in found.items() if key not in classifier}
    _refuse_unfit(source, path, expected, weights)
    return path, weights, classifier


def _read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by their names. No code in it is run."""
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise CheckpointError(f"{path.name}: no safetensors file ({error})") from error
    if is_checkpoint(path):
        return read_state(path, torch.device("cpu"))["model"]
    state = load_tensors(path, torch.device("cpu"))
    if not isinstance(state, dict) or not state or not all(isinstance(each, Tensor) for each in state.values()):
        raise CheckpointError(
            f"{path.name}: expected a checkpoint with its .sha256 beside it, or names and their tensors"
        )
    return state


def _refuse_unfit(source: str, path: Path, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    problems = {
        "missing": [key for key in expected if key not in found],
        "unexpected": [key for key in found if key not in expected],
        "of another shape": [
            f"{key} {tuple(found[key].shape)}, expected {tuple(tensor.shape)}"
            for key, tensor in expected.items()
            if key in found and found[key].shape != tensor.shape
        ],
    }
    said = [f"{problem}: {', '.join(keys)}" for problem, keys in problems.items() if keys]
    if said:
        raise ConfigError(
            f"model.init_from={source!r}: '{path}' does not fit the backbone of this run, and nothing is loaded; "
            f"{'; '.join(said)}"
        )
