"""Initial weights of a backbone, from another run or a file (``model.init_from``)."""

import logging
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from ssl_core.checkpoint.store import CheckpointStore, sha256_of
from ssl_core.checkpoint.weights_file import content_problem, first, not_finite, prefix_of, read_weights
from ssl_core.errors import CheckpointError, ConfigError
from ssl_core.run.folder import RunFolder

_message = logging.getLogger(__name__)
_PREFIX = "backbone."


def find_weights(source: str, key: str = "model.init_from") -> Path:
    """Return the file of ``model.init_from``; for a run folder, its newest intact checkpoint.

    Raises a ConfigError if the file does not exist, or holds no weights (a git-LFS pointer, a web page).
    """
    path = Path(source)
    if path.is_dir():
        try:
            return CheckpointStore(RunFolder(path).checkpoints).newest()
        except CheckpointError as error:
            raise _error(key, source, str(error)) from error
    if not path.is_file():
        raise _error(key, source, "no such file or run folder")
    problem = content_problem(path)
    if problem is not None:
        raise _error(key, source, f"{path.name}: {problem}")
    return path


def load_backbone(backbone: nn.Module | None, source: str, key: str = "model.init_from") -> dict[str, str]:
    """Load pretrained weights into a backbone: all of them, or none.

    Parameters
    ----------
    backbone : nn.Module
        Its parameters and buffers are filled in place.
    source : str
        ``model.init_from``: a run folder, one of its checkpoints, a ``.safetensors`` file, or a file of ``torch.save``: a
        state dict (torchvision) or a training checkpoint that holds one, for example under ``state_dict``, ``model`` or
        ``teacher`` (Lightning, MAE, DINO). Keys that begin with ``backbone.`` belong to the backbone; without such keys,
        those with the prefix under which most of its names are found (``module.``, ``encoder.``), which is logged. Weights
        of a classifier that the backbone does not have are skipped, and logged.

    Returns
    -------
    dict
        ``{"file": path, "sha256": of the file}``, for ``summary.json``.

    Raises
    ------
    ConfigError
        If the file cannot be read, holds values that are not finite, or does not fit; the first keys that are missing,
        unexpected or of another shape are named. The backbone is unchanged.
    """
    path, weights, classifier = weights_for(backbone, source, key)
    assert backbone is not None
    backbone.load_state_dict(weights)
    left_out = f"; weights of the classifier are skipped: {', '.join(classifier)}" if classifier else ""
    _message.info("loaded %d tensors into the backbone from %s%s", len(weights), path, left_out)
    return {"file": str(path), "sha256": sha256_of(path)}


def weights_for(
    backbone: nn.Module | None, source: str, key: str = "model.init_from"
) -> tuple[Path, dict[str, Tensor], list[str]]:
    """Return the file, the weights that :func:`load_backbone` would load, and the keys of a classifier that it would skip."""
    if backbone is None:
        raise _error(key, source, "the method has no module called backbone to load it into")
    path = find_weights(source, key)
    expected = backbone.state_dict()
    try:
        found = _below(_PREFIX, read_weights(path))
        prefix = prefix_of(found, expected)
    except (CheckpointError, OSError) as error:
        raise _error(key, source, str(error)) from error
    if prefix:
        below = _below(prefix, found)
        _message.info("%s: names begin with '%s'; %d other tensors are skipped", path, prefix, len(found) - len(below))
        found = below
    gone = [f"{name}." for name, module in backbone.named_modules() if isinstance(module, nn.Identity)]
    classifier = [key for key in found if key not in expected and key.startswith(tuple(gone))]
    weights = {key: tensor for key, tensor in found.items() if key not in classifier}
    problems = _misfits(expected, weights)
    if problems:
        raise _error(
            key, source, f"'{path}' does not fit the backbone of this run, and nothing is loaded; {'; '.join(problems)}"
        )
    bad = not_finite(weights)
    if bad:
        raise _error(
            key,
            source,
            f"'{path}' has values that are not finite, and nothing is loaded: {first(bad)}; take weights from before the "
            "training diverged",
        )
    return path, weights, classifier


def _below(prefix: str, found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without the prefix; without such names, all tensors."""
    below = {key.removeprefix(prefix): tensor for key, tensor in found.items() if key.startswith(prefix)}
    return below or found


def _misfits(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Return what does not fit, for each kind of misfit the first keys."""
    keys = {
        "missing": [key for key in expected if key not in found],
        "unexpected": [key for key in found if key not in expected],
        "of another shape": [
            f"{key} {tuple(found[key].shape)}, expected {tuple(tensor.shape)}"
            for key, tensor in expected.items()
            if key in found and found[key].shape != tensor.shape
        ],
    }
    return [f"{problem}: {first(names)}" for problem, names in keys.items() if names]


def _error(key: str, source: str, reason: str) -> ConfigError:
    return ConfigError(reason, key=key, value=source)
