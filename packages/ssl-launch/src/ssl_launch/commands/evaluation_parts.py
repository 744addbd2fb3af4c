"""The optional parts of a protocol that name data: checked before torch is imported."""

from pathlib import Path
from typing import Any

from ssl_core.config.robustness import Corruptions
from ssl_core.config.suggestion import unknown_name
from ssl_core.errors import ConfigError
from ssl_data.corruptions.severities import CORRUPTIONS
from ssl_data.transfer_names import CUSTOMARY, is_folder_name
from ssl_launch.run_path import find_run, missing_run

# Part, key and what the path must be
PATHS = (
    ("zero_shot", "text_features", Path.is_file),
    ("landmarks", "root", Path.is_dir),
    ("landmarks", "ground_truth", Path.is_file),
)


def check_parts(parts: dict[str, Any]) -> None:
    """Raise a ConfigError for an unknown corruption or data set, or a file or run that does not exist; make that a path.

    Parameters
    ----------
    parts : dict
        Name of a part -> its dataclass, changed in place.
    """
    corruptions = parts.get("corruptions")
    if corruptions is not None:
        _check_corruptions(corruptions)
    transfer = parts.get("transfer")
    for name in transfer.datasets if transfer is not None else ():
        if name not in CUSTOMARY and not is_folder_name(name):
            raise unknown_name("eval.transfer.datasets", name, CUSTOMARY, "a folder has a slash in its path")
    for part, key, exists in PATHS:
        given = getattr(parts.get(part), key, None)
        if given and not exists(Path(given)):
            what = "folder" if exists is Path.is_dir else "file"
            raise ConfigError(f"there is no such {what}", key=f"eval.{part}.{key}", value=given)


def _check_corruptions(how: Corruptions) -> None:
    for name in how.names:
        if name not in CORRUPTIONS:
            raise unknown_name("eval.corruptions.names", name, CORRUPTIONS)
    if how.reference is not None:
        problem = missing_run(how.reference)
        if problem:
            raise ConfigError(f"eval.corruptions.reference: {problem}")
        how.reference = find_run(how.reference)
