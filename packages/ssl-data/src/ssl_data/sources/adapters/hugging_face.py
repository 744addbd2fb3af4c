"""Data sets of Hugging Face by name, through the package ``datasets``."""

from pathlib import Path
from typing import Any

_TEST = ("test", "validation", "valid", "val")


def open_hugging_face(root: str, split: str, download: bool) -> tuple[Any, Any]:
    """Return the training and the test split of a data set.

    Parameters
    ----------
    root : str
        ``org/name`` on the hub, or ``org/name:configuration``; or a folder that ``save_to_disk`` has written or
        ``datasets.load_dataset`` can read.
    split : str
        Trained on; empty: ``train``.
    download : bool
        Whether to use the network. Else only what is in the cache of ``datasets`` is found.

    Raises
    ------
    ValueError, FileNotFoundError
        Without the package, the data set or one of its splits. The message begins with ``data.root`` or ``data.split``.
    """
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise ValueError(
            "data.dataset='huggingface': the package 'datasets' is not installed: pip install 'ssl-data[huggingface]'"
        ) from error
    path, _, configuration = root.partition(":")
    try:
        if Path(path, "dataset_dict.json").is_file():
            parts: Any = datasets.load_from_disk(path)
        else:
            config = datasets.DownloadConfig(local_files_only=not download)
            parts = datasets.load_dataset(path, configuration or None, download_config=config)
    except Exception as error:  # of many types, and none of them ours
        raise FileNotFoundError(
            f"data.root={root!r}: Hugging Face's datasets cannot open it: {' '.join(str(error).split())}; expected org/name on "
            "the hub, or a folder that save_to_disk has written"
        ) from error
    train = split or "train"
    if train not in parts:
        raise ValueError(f"data.split={train!r}: expected one of {', '.join(map(repr, parts))}")
    test = next((name for name in _TEST if name in parts and name != train), None)
    if test is None:
        raise ValueError(
            f"data.root={root!r}: expected a split {' or '.join(map(repr, _TEST))} to evaluate, found "
            f"{', '.join(map(repr, parts))}; in Python: DataConfig.of(train=..., test=...)"
        )
    return parts[train], parts[test]
