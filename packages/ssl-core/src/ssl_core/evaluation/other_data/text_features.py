"""A file of text features for zero-shot classification: one row, or several templates, for each class."""

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_core.checkpoint.store import sha256_of
from ssl_core.config.validation import check_groups
from ssl_core.config.zero_shot import ZeroShot
from ssl_core.errors import ConfigError
from ssl_eval.validation import check_features

KEY = "eval.zero_shot.text_features"
FEATURES, NAMES = "text_features", "class_names"  # in a file with several parts


@dataclass(frozen=True)
class TextFeatures:
    """The text features of classes.

    Attributes
    ----------
    features : Tensor
        ``(K, D)`` or ``(K, T, D)`` of T templates, finite.
    class_names : list of str, optional
        K names, of the rows.
    sha256 : str
        Digest of the file.
    """

    features: Tensor
    class_names: list[str] | None
    sha256: str

    @property
    def width(self) -> int:
        """D."""
        return self.features.shape[-1]


def read_text_features(how: ZeroShot) -> TextFeatures:
    """Return the text features of ``eval.zero_shot.text_features``. No code of the file is executed.

    A ``.npy`` file has an array. A ``.pt`` file (of ``torch.save``, loaded with weights only) has a tensor, or a dict with
    ``text_features`` and, optionally, ``class_names``, a list of strings; a ``.npz`` file has arrays of these names.

    Raises
    ------
    ConfigError
        If the file does not exist, cannot be read, or has something else, such as another shape, NaN or a row of zeros.
    """
    check_groups({"eval.zero_shot": how})
    path = Path(str(how.text_features))
    if not path.is_file():
        raise _invalid(path, "there is no such file")
    try:
        content = _read(path)
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise _invalid(path, f"it cannot be read: {_first_sentence(error)}") from error
    features, names = _parts(path, content)
    if features.ndim not in (2, 3) or 0 in features.shape:
        raise _invalid(path, f"expected (K, D) or (K, templates, D) numbers, got shape {tuple(features.shape)}")
    try:
        check_features(FEATURES, features.flatten(0, -2))
    except ValueError as error:
        raise _invalid(path, _without_advice(error)) from error
    zero = (features == 0).all(-1).nonzero()
    if len(zero):
        raise _invalid(path, f"the text features of class {int(zero[0, 0])} are zeros; expected a direction")
    if names is not None and len(names) != len(features):
        raise _invalid(path, f"it has {len(names)} {NAMES} and {len(features)} classes; expected a name for each class")
    return TextFeatures(features, names, sha256_of(path))


def _read(path: Path) -> Any:
    if path.suffix in (".pt", ".pth"):
        return torch.load(path, map_location="cpu", weights_only=True)
    content = np.load(path, allow_pickle=False)
    if isinstance(content, np.ndarray):
        return content
    with content:
        return {name: content[name] for name in content.files}


def _parts(path: Path, content: Any) -> tuple[Tensor, list[str] | None]:
    """Return the features as a tensor, and the names of the classes or None."""
    features, names = content, None
    if isinstance(content, Mapping):
        if FEATURES not in content:
            found = ", ".join(map(repr, list(content)[:5])) or "nothing"
            raise _invalid(path, f"it has {found}; expected {FEATURES!r} and optionally {NAMES!r}")
        features, names = content[FEATURES], content.get(NAMES)
    if isinstance(features, np.ndarray) and features.dtype.kind in "fiu":
        features = torch.from_numpy(features.astype(features.dtype.newbyteorder("="), copy=False))
    if not isinstance(features, Tensor):
        kind = f"an array of {features.dtype}" if isinstance(features, np.ndarray) else f"a {type(features).__name__}"
        raise _invalid(path, f"expected a tensor of numbers, got {kind}")
    if names is None:
        return features, None
    names = names.tolist() if isinstance(names, np.ndarray) else names
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise _invalid(path, f"{NAMES}: expected a list of strings")
    return features, list(names)


def _invalid(path: Path, reason: str) -> ConfigError:
    return ConfigError(reason, key=KEY, value=str(path))


def _first_sentence(error: Exception) -> str:
    return " ".join(str(error).split()).partition(". ")[0] or type(error).__name__


def _without_advice(error: ValueError) -> str:
    """Return a message on features without its advice on training."""
    return str(error).partition("; has the training")[0]
