"""Evaluate one checkpoint by all parts of a protocol: the data of the run, and other data that a part names."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ssl_core.config.dense import DenseEvaluation
from ssl_core.config.landmarks import Landmarks
from ssl_core.config.validation import check_groups
from ssl_core.errors import ConfigError
from ssl_core.evaluation.evaluate_checkpoint import evaluate_checkpoint
from ssl_core.evaluation.other_data.dense import evaluate_dense
from ssl_core.evaluation.other_data.landmark_folder import read_landmark_folder
from ssl_core.evaluation.other_data.landmarks import LandmarkData, evaluate_landmarks
from ssl_core.evaluation.other_data.text_features import read_text_features
from ssl_core.evaluation.other_data.transfer import evaluate_transfer
from ssl_core.evaluation.other_data.zero_shot import evaluate_zero_shot
from ssl_core.run.folder import RunFolder
from ssl_data import ListedImages, PairedFolder
from ssl_data.opening.open_transfer import open_transfer
from ssl_eval import Protocol

OF_RUN = {"finetune": "fine_tuning", "corruptions": "corruptions", "shifts": "shifts"}  # part -> argument


def evaluate_run(
    run: RunFolder,
    protocol: Protocol,
    checkpoint: Path | None = None,
    parts: Mapping[str, Any] | None = None,
    *,
    method: type | None = None,
    data: Any = None,
    device: str = "auto",
    others: Any = None,
    **options: Any,
) -> list[Path]:
    """Return the files of an evaluation.

    Parameters
    ----------
    run, protocol, checkpoint, method, data, device, others
        As in :func:`ssl_core.evaluation.evaluate_checkpoint.evaluate_checkpoint`.
    parts : mapping, optional
        Name of an optional part of the protocol -> its dataclass: ``finetune``, ``corruptions``, ``shifts``, ``dense``,
        ``landmarks``, ``zero_shot``, ``transfer``. With ``transfer`` only the other data sets are evaluated.
    options
        Other arguments of ``evaluate_checkpoint``.

    Notes
    -----
    The data of the run is opened only if a metric needs it: not by ``eval=segmentation``, ``eval=depth`` and
    ``eval=landmarks``. The result of ``zero_shot`` is a file of its own, ``<protocol>_zero_shot.json`` where the protocol has
    other metrics.

    Raises
    ------
    ConfigError, RunError, DiskError, ValueError
        As the functions of the parts; a ConfigError for a folder that :class:`ssl_data.PairedFolder` does not take.
    """
    parts = parts or {}
    if "transfer" in parts:
        opened = (parts["transfer"], open_transfer, protocol.name, checkpoint, method, data, device)
        return [evaluate_transfer(run, *opened)]
    # files that do not exist are reported before the rest
    given = {name: open_part(parts[name]) for name, (open_part, _) in OF_FILES.items() if name in parts}
    of_run = {key: parts[name] for name, key in OF_RUN.items() if name in parts}
    written = []
    if not given or others or of_run or not protocol.is_empty:
        options |= {"method": method, "data": data, "device": device, "others": others} | of_run
        written += evaluate_checkpoint(run, protocol, checkpoint, **options)
    for name, files in given.items():
        label = f"{protocol.name}_{name}" if name == "zero_shot" and written else protocol.name
        found = OF_FILES[name][1](run, parts[name], files, checkpoint, method, data, device, label)
        written += found if isinstance(found, list) else [found]
    return written


def open_pairs(dense: DenseEvaluation) -> PairedFolder:
    """Return the images and maps of a dense evaluation; a folder without them is a ConfigError."""
    names = ("targets", "reduce_zero_label", "depth_scale", "test_fraction", "train_images", "seed")
    check_groups({"eval.dense": dense})
    try:
        return PairedFolder(str(dense.root), **{name: getattr(dense, name) for name in names}, key="eval.dense.root")
    except (ValueError, FileNotFoundError) as error:
        raise ConfigError(str(error)) from error


def open_landmarks(how: Landmarks) -> LandmarkData:
    """Return the images and the ground truth of a folder of landmarks; a folder without them is a ConfigError."""
    folder = read_landmark_folder(how)
    gallery = ListedImages(folder.root, folder.gallery, key="eval.landmarks.root")
    return LandmarkData(
        folder, gallery, ListedImages(folder.root, folder.queries, folder.boxes, key="eval.landmarks.root")
    )


# Part -> the function that opens its files, and the one that evaluates a checkpoint on them
OF_FILES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "dense": (open_pairs, evaluate_dense),
    "landmarks": (open_landmarks, evaluate_landmarks),
    "zero_shot": (read_text_features, evaluate_zero_shot),
}
