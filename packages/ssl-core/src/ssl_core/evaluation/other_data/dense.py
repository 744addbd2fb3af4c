"""Dense evaluation of a checkpoint: segmentation or depth from patch tokens, on images with maps of their pixels.

The result is ``<run>/eval/<protocol>_<dataset>.json``, and a picture. The data of the run is not opened.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from ssl_core.checkpoint.store import CheckpointStore, sha256_of, step_of
from ssl_core.config.dense import DenseEvaluation
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
from ssl_core.evaluation.other_data.normalization import normalization
from ssl_core.evaluation.pictures.draw import draw_each
from ssl_core.run.folder import RunFolder
from ssl_core.training.trained_run import load_trained_model
from ssl_eval import depth_probe, knn_segmentation, segmentation_probe, token_clusters
from ssl_eval.figures.images.pixel_maps import pixel_map_figure
from ssl_eval.report.drawing import slug

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS = ("train", "test")


class PairedData(Protocol):
    """Images with a map of their pixels, such as ``ssl_data.PairedFolder``."""

    @property
    def name(self) -> str:
        """The name of the data set in results."""

    def batches(
        self,
        part: str,
        size: tuple[int, int],
        channels: int,
        batch_size: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield normalised images ``(N, C, H, W) float32`` and their maps ``(N, H, W)``, of ``"train"`` or ``"test"``."""

    def facts(self) -> dict[str, Any]:
        """Return plain values that the result records of the data."""


@dataclass
class DenseTokens:
    """Patch tokens of one part of the data, with the maps of its images."""

    tokens: Tensor  # (N, L, D) float16
    targets: Tensor  # (N, H, W)
    grid: tuple[int, int]
    images: Tensor  # (n, C, H, W): the first images, normalised


def evaluate_dense(
    run: RunFolder,
    dense: DenseEvaluation,
    data: PairedData,
    checkpoint: Path | None = None,
    method: type | None = None,
    run_data: Any = None,
    device: str = "auto",
    protocol: str = "segmentation",
) -> Path:
    """Evaluate the patch tokens of one checkpoint on images with masks or depth maps; write and return the file.

    Parameters
    ----------
    run : RunFolder
        The run. Its own data is not opened.
    dense : DenseEvaluation
        The options.
    data : PairedData
        The images and maps.
    checkpoint : Path, optional
        One of its checkpoints. Default: the newest intact one.
    method, run_data
        As ``method`` and ``data`` of :func:`ssl_core.run.load_config.read_config`.
    device : {"auto", "cpu", "cuda"}
        Device of the model and of the probes.
    protocol : str
        Name of the result.

    Raises
    ------
    DiskError
        If the file cannot be written. Earlier files are unchanged.
    RunError, ConfigError
        If the folder is not a run, the checkpoint is damaged, or the backbone has no patch tokens.
    ValueError
        If an image or a map cannot be read, or the probes cannot be computed of them. Nothing is written then.
    """
    began = time.perf_counter()
    check_groups({"eval.dense": dense})
    check_evaluable(run)
    path = checkpoint or CheckpointStore(run.checkpoints).newest()
    model = load_trained_model(method, run.path, step_of(path), run_data, device)
    mean, std = normalization(run, dense, "eval.dense", model.image_shape[0])
    _check_size(dense, patch_size_of(model))
    parts = {part: _extract(model, data, part, dense, mean, std) for part in PARTS}
    extracted = time.perf_counter()
    compute = _segmentation if dense.targets == "masks" else _depth
    result, rows = compute(parts["train"], parts["test"], dense)
    dataset = dense.dataset or data.name
    step, epoch = model.progress.step, model.progress.epoch
    label = evaluation_label(f"{protocol}_{slug(dataset)}", path, step)
    document = {
        **evaluation_head(protocol, checkpoint_facts(path, sha256_of(path), model.config, step, epoch), dataset, began),
        "seconds_of_extraction": round(extracted - began, 3),
        "settings": {
            key: value for key, value in asdict(dense).items() if key not in ("root", "dataset", "batch_size")
        },
        "data": data.facts() | {"size": list(parts["test"].targets.shape[1:]), "grid": list(parts["test"].grid)},
        **{name: value for name, value in result.items() if value or name == "metrics"},
    }
    draw = partial(draw_each, {"maps": partial(_figure, parts["test"], rows, dense, mean, std)})
    return write_evaluation(run, label, document, draw=draw)


def _check_size(dense: DenseEvaluation, patch_size: int) -> None:
    if dense.size % patch_size:
        expected = f"a multiple of the patch size, {patch_size}; 0: the image size of the run"
        raise ConfigError(key="eval.dense.size", value=dense.size, expected=expected)


@torch.no_grad()
def _extract(
    model: Any, data: PairedData, part: str, dense: DenseEvaluation, mean: list[float], std: list[float]
) -> DenseTokens:
    """Return the patch tokens of the last block, after its norm, in float16; of a convolutional network its feature map."""
    backbone: Any = getattr(model, "backbone", None)
    if not hasattr(backbone, "forward_dense"):
        raise ConfigError(
            f"eval.dense: the backbone {model.config.model.backbone!r} has no feature map; expected a vision transformer or a "
            "ResNet, or a module with forward_dense(x) -> features (N, D), map (N, D, h, w)"
        )
    channels, *own = model.image_shape
    size = (dense.size, dense.size) if dense.size else (own[0], own[1])
    device = model.run.distributed.device
    tokens: list[Tensor] = []
    targets: list[Tensor] = []
    images: list[Tensor] = []
    for x, maps in data.batches(part, size, channels, dense.batch_size, mean, std):
        if sum(len(each) for each in images) < dense.pictures and part == "test":
            images.append(x)
        with model.run.precision.autocast():
            found = backbone.forward_dense(x.to(device, model.run.precision.dtype))[1]
        tokens.append(found.flatten(2).transpose(1, 2).half())
        targets.append(maps.to(device))
    shown = torch.cat(images)[: dense.pictures] if images else torch.empty(0, channels, *size)
    return DenseTokens(torch.cat(tokens), torch.cat(targets), (found.shape[2], found.shape[3]), shown)


def _segmentation(
    train: DenseTokens, test: DenseTokens, dense: DenseEvaluation
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the entries of the result, and the maps of the picture by the names of their rows."""
    given = train.tokens, train.targets, test.tokens, test.targets, test.grid, dense.num_classes or None
    metrics: dict[str, float] = {}
    per_class: dict[str, list[float | None]] = {}
    chosen: dict[str, Any] = {}
    rows: dict[str, Any] = {"mask": test.targets}
    probes: dict[str, Any] = {"linear": segmentation_probe} if dense.linear else {}
    if dense.knn:
        probes["knn"] = knn_segmentation
    for name, probe in probes.items():
        found = probe(*given, seed=dense.seed, **({"references": dense.references} if name == "knn" else {}))
        metrics |= {f"mean_iou_{name}": found.mean_iou, f"pixel_accuracy_{name}": found.pixel_accuracy}
        per_class[name] = [None if math.isnan(value) else value for value in found.per_class.tolist()]
        chosen |= {"lr": found.lr} if name == "linear" else {"k": found.k}
        rows[{"knn": "kNN"}.get(name, name)] = found.predictions
    return {"metrics": metrics, "per_class_iou": per_class, "chosen": chosen}, {"classes": rows}


def _depth(train: DenseTokens, test: DenseTokens, dense: DenseEvaluation) -> tuple[dict[str, Any], dict[str, Any]]:
    found = depth_probe(train.tokens, train.targets, test.tokens, test.targets, test.grid, seed=dense.seed)
    metrics = {f"{name}_linear": getattr(found, name) for name in ("rmse", "abs_rel", "delta1")}
    chosen = {"regularization": found.regularization}
    return {"metrics": metrics, "chosen": chosen}, {"depths": {"depth": test.targets, "linear": found.predictions}}


def _figure(
    test: DenseTokens, rows: dict[str, Any], dense: DenseEvaluation, mean: list[float], std: list[float]
) -> "Figure | None":
    """Return the picture of the first test images; None if no image is asked for."""
    count = len(test.images)
    if not count:
        return None
    shift, scale = (torch.tensor(each)[:, None, None] for each in (mean, std))
    tokens = test.tokens[:count].cpu()
    clusters = token_clusters(tokens, min(dense.clusters, tokens.shape[0] * tokens.shape[1]), seed=dense.seed)
    maps: dict[str, Any] = {
        kind: {name: each[:count].cpu() for name, each in named.items()} for kind, named in rows.items()
    }
    return pixel_map_figure(test.images * scale + shift, clusters={"k-means": clusters.unflatten(1, test.grid)}, **maps)
