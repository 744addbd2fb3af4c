"""Landmark retrieval by the features of a checkpoint: mAP and mP@k of revisited Oxford or Paris.

The result is ``<run>/eval/<protocol>_<dataset>.json``. The data of the run is not opened.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ssl_core.checkpoint.store import CheckpointStore, sha256_of, step_of
from ssl_core.config.landmarks import Landmarks
from ssl_core.config.validation import check_groups
from ssl_core.errors import ConfigError
from ssl_core.evaluation.evaluation_file import (
    check_evaluable,
    checkpoint_facts,
    evaluation_head,
    evaluation_label,
    write_evaluation,
)
from ssl_core.evaluation.features import patch_size_of
from ssl_core.evaluation.kept_features import computed_by, features_file, kept_features
from ssl_core.evaluation.other_data.landmark_folder import LandmarkFolder
from ssl_core.evaluation.other_data.normalization import normalization
from ssl_core.run.folder import RunFolder
from ssl_core.training.trained_run import load_trained_model
from ssl_eval import LandmarkResult, landmark_retrieval
from ssl_eval.report.drawing import slug
from ssl_eval.validation import check_features

KS = (1, 5, 10)  # of mP@k


class Images(Protocol):
    """Images of files in their own proportions, such as ``ssl_data.ListedImages``."""

    def __len__(self) -> int:
        """Return the number of images."""

    def batches(
        self, size: int, multiple: int, channels: int, batch_size: int, mean: Sequence[float], std: Sequence[float]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield places ``(N,) int64`` and normalised images ``(N, C, H, W)`` of the same shape, every image once."""

    def fingerprint(self) -> str:
        """Return a digest of the files."""


@dataclass(frozen=True)
class LandmarkData:
    """The contents of a folder of landmarks, and its images."""

    folder: LandmarkFolder
    gallery: Images
    queries: Images  # cropped to their boxes


def evaluate_landmarks(
    run: RunFolder, how: Landmarks, data: LandmarkData, checkpoint: Path | None = None, method: type | None = None,
    run_data: Any = None, device: str = "auto", protocol: str = "landmarks",
) -> Path:  # fmt: skip
    """Retrieve the images of landmarks that a query shows, by cosine similarity of features; write and return the file.

    Features are those of the backbone at one size, without whitening and query expansion. They are kept in the run folder.

    Parameters
    ----------
    run : RunFolder
        The run. Its own data is not opened.
    how : Landmarks
        The options.
    data : LandmarkData
        The images and the ground truth.
    checkpoint : Path, optional
        One of its checkpoints. Default: the newest intact one.
    method, run_data
        As ``method`` and ``data`` of :func:`ssl_core.run.load_config.read_config`.
    device : {"auto", "cpu", "cuda"}
        Device of the model.
    protocol : str
        Name of the result.

    Raises
    ------
    ConfigError
        If no query has an image to be found, or the backbone does not take images of this size.
    DiskError
        If the file cannot be written. Earlier files are unchanged.
    RunError
        If the folder is not a run, or the checkpoint is damaged.
    ValueError
        If an image cannot be read, or features are not finite. Nothing is written then.
    """
    began = time.perf_counter()
    check_groups({"eval.landmarks": how})
    check_evaluable(run)
    folder = data.folder
    if not any(len(entry["easy"]) + len(entry["hard"]) for entry in folder.ground_truth):
        raise ConfigError("no query has an image to be found", key="eval.landmarks.root", value=how.root)
    path = checkpoint or CheckpointStore(run.checkpoints).newest()
    model = load_trained_model(method, run.path, step_of(path), run_data, device)
    mean, std = normalization(run, how, "eval.landmarks", model.image_shape[0])
    size = how.size or max(model.image_shape[1:])
    shown = {"size": size, "multiple": patch_size_of(model), "mean": mean, "std": std, "batch_size": how.batch_size}
    sha256 = sha256_of(path)

    def compute() -> dict[str, Tensor]:
        return {
            name: _features(model, images, how, shown)
            for name, images in (("queries", data.queries), ("gallery", data.gallery))
        }

    images = {"gallery": data.gallery.fingerprint(), "queries": data.queries.fingerprint()}
    depends = {"landmarks": images, "boxes": folder.boxes, "shown": shown}
    file = features_file(run, computed_by(model, sha256) | depends)
    features = kept_features(file, compute, folder.name, ("queries", "gallery"))
    result = _result(landmark_retrieval(features["queries"], features["gallery"], folder.ground_truth, KS))
    result["landmarks"] |= {"images": len(data.gallery), **shown, "files": images, "truth_sha256": folder.sha256}
    step, epoch = model.progress.step, model.progress.epoch
    document = {
        **evaluation_head(protocol, checkpoint_facts(path, sha256, model.config, step, epoch), folder.name, began),
        "settings": {"landmarks": {key: asdict(how)[key] for key in ("size", "mean", "std")}},
        **result,
    }
    return write_evaluation(run, evaluation_label(f"{protocol}_{slug(folder.name)}", path, step), document)


def _result(found: LandmarkResult) -> dict[str, Any]:
    """Return the metrics, numbers of queries, and why metrics are missing."""
    metrics = {f"map_{setup}": value for setup, value in found.mean_average_precision.items()}
    metrics |= {
        f"mean_precision_{k}_{setup}": value for setup, each in found.precision.items() for k, value in each.items()
    }
    empty = [name for name, value in metrics.items() if math.isnan(value)]
    return {
        "metrics": {name: value for name, value in metrics.items() if name not in empty},
        "landmarks": {"queries": found.queries},
        **({"omitted": dict.fromkeys(empty, "no query has such an image to be found")} if empty else {}),
    }


def _features(model: Any, images: Images, how: Landmarks, shown: dict[str, Any]) -> Tensor:
    """Return the features ``(N, D)`` of images, in their order, on the CPU."""
    rows: list[Tensor] = []
    places: list[Tensor] = []
    channels = model.image_shape[0]
    for place, x in images.batches(channels=channels, **shown):
        try:
            rows.append(model.features(x).cpu())
        except torch.OutOfMemoryError:
            raise
        except (ValueError, AssertionError, RuntimeError) as error:  # a backbone for images of one size
            reason = " ".join(str(error).split()).partition(". ")[0]
            raise ConfigError(
                f"the backbone {model.config.model.backbone!r} does not take images of {x.shape[2]} x {x.shape[3]} pixels: "
                f"{reason}; expected a backbone for images of any size",
                key="eval.landmarks.size",
                value=how.size,
            ) from error
        places.append(place)
    found = torch.cat(rows)[torch.cat(places).argsort()]
    check_features("the features of landmarks", found)
    return found
