"""Zero-shot classification of the test images of a run by text features that are given, ``<run>/eval/<protocol>.json``."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_core.checkpoint.store import CheckpointStore, sha256_of
from ssl_core.config.validation import check_groups
from ssl_core.config.zero_shot import ZeroShot
from ssl_core.errors import ConfigError
from ssl_core.evaluation.evaluation_file import (
    check_evaluable,
    check_test_images,
    checkpoint_facts,
    evaluation_head,
    evaluation_label,
    write_evaluation,
)
from ssl_core.evaluation.features import collect_features
from ssl_core.evaluation.kept_features import computed_by, data_keys, features_file, kept_features
from ssl_core.evaluation.opened_model import opened_model
from ssl_core.evaluation.other_data.text_features import KEY, TextFeatures
from ssl_core.run.folder import RunFolder
from ssl_core.training.checks.method import representation_widths
from ssl_eval import ZeroShotResult, zero_shot
from ssl_eval.validation import check_features
from ssl_losses.precision import widen


def evaluate_zero_shot(
    run: RunFolder, how: ZeroShot, text: TextFeatures, checkpoint: Path | None = None, method: type | None = None,
    data: Any = None, device: str = "auto", name: str = "zero_shot",
) -> list[Path]:  # fmt: skip
    """Classify the test images of a run by text features; write and return the files, one for each evaluation set.

    The features of the images are kept in the run folder, and not computed again with other texts. Images without a label are
    left out.

    Parameters
    ----------
    run : RunFolder
        The run.
    how : ZeroShot
        The options.
    text : TextFeatures
        From :func:`ssl_core.evaluation.other_data.text_features.read_text_features`. With names of classes, rows are
        assigned to the classes of the data by name, else they are in the order of the classes.
    checkpoint, method, data, device
        As in :func:`ssl_core.evaluation.feature_cache.extract_features`.
    name : str
        Name of the protocol.

    Raises
    ------
    ConfigError
        If the text features do not fit the classes of the data, or no representation of the model has their width. Nothing
        is written then.
    RunError, DiskError
        As :func:`ssl_core.evaluation.evaluate_checkpoint.evaluate_checkpoint`.
    ValueError
        If features are not finite, or no test image has a label.
    """
    began = time.perf_counter()
    check_groups({"eval.zero_shot": how})
    check_evaluable(run)
    path = checkpoint or CheckpointStore(run.checkpoints).newest()
    with opened_model(run, path, method, data, device) as model:
        loaders: Any = model.run.loaders
        check_test_images(run, loaders)
        names = list(getattr(loaders, "class_names", ()))
        _check_classes(how, text, loaders.num_classes)
        chosen = _representation(how, text.width, representation_widths(model))
        facts = checkpoint_facts(path, sha256_of(path), model.config, model.progress.step, model.progress.epoch)
        found = {
            each: _classified(how, text, names, _features(model, run, facts["sha256"], chosen, each, loader))
            for each, loader in loaders.evaluation.items()
        }
    written = []
    for dataset, (result, labels) in found.items():
        document = {
            **evaluation_head(name, facts, dataset, began),
            "settings": {"zero_shot": {"features": how.features, "text_sha256": text.sha256}},
            "metrics": {"zero_shot": result.accuracy},
            "zero_shot": {"features": chosen, "images": len(labels), **_facts_of(how, text, names)},
        }
        if len(text.features) > 5:
            document["metrics"]["zero_shot_top5"] = result.top5
        label = evaluation_label(name + f"_{dataset}" * (len(found) > 1), path, facts["step"])
        written.append(write_evaluation(run, label, document, result.scores.argmax(1).cpu() == labels.cpu()))
    return written


def _facts_of(how: ZeroShot, text: TextFeatures, names: list[str]) -> dict[str, Any]:
    """Return what a result records of the texts; ``names`` are those of the classes of the data."""
    return {
        "width": text.width,
        "classes": len(text.features),
        "templates": text.features.shape[1] if text.features.ndim == 3 else 1,
        "assigned_by": "name" if text.class_names and names else "order",
        "text_features": how.text_features,
    }


def _check_classes(how: ZeroShot, text: TextFeatures, num_classes: int) -> None:
    if len(text.features) != num_classes:
        raise ConfigError(
            f"it has {len(text.features)} classes, and the data of the run {num_classes}",
            key=KEY,
            value=how.text_features,
        )


def _representation(how: ZeroShot, width: int, widths: Mapping[str, int]) -> str:
    """Return the name of the representation of the images that is compared with the text.

    CLIP compares embeddings, the output of the projection: with ``auto`` the projector comes first.
    """
    listed = ", ".join(f"{name} {each}" for name, each in widths.items())
    if how.features == "auto":
        fitting = [name for name in ("projector", *widths) if widths.get(name) == width]
        if fitting:
            return fitting[0]
    elif how.features not in widths:
        raise ConfigError(key="eval.zero_shot.features", value=how.features, expected=["auto", *widths])
    elif widths[how.features] == width:
        return how.features
    else:
        listed = f"{how.features} {widths[how.features]}"
    raise ConfigError(
        f"the text features have {width} dimensions, the features of the images: {listed}; expected texts of the model that "
        "the images were trained with, or a method whose encode() returns the projection to them",
        key=KEY,
        value=how.text_features,
    )  # fmt: skip


@torch.no_grad()
def _encoded(model: Any, name: str, x: Tensor) -> Tensor:
    """Return a representation of images, at least float32."""
    with model.run.precision.autocast():
        return widen(model.encode(x.to(model.run.distributed.device, model.run.precision.dtype))[name])


def _features(model: Any, run: RunFolder, sha256: str, chosen: str, dataset: str, loader: Any) -> dict[str, Tensor]:
    """Return ``features`` and ``labels`` of the labelled images of an evaluation set."""

    def compute() -> dict[str, Tensor]:
        features, labels = collect_features(loader, partial(_encoded, model, chosen), model.run.distributed)
        if not len(labels):
            raise ValueError(f"no image of {dataset} has a label")
        check_features(f"the features of {dataset}", features)
        return {"features": features, "labels": labels}

    file = None
    if hasattr(loader, "fingerprint"):  # else it is unknown whether the images are the same
        images = {"data": data_keys(model.config), "images": loader.fingerprint(), "representation": chosen}
        file = features_file(run, computed_by(model, sha256) | images)
    return kept_features(file, compute, dataset, ("features", "labels"))


def _classified(
    how: ZeroShot, text: TextFeatures, names: list[str], images: dict[str, Tensor]
) -> tuple[ZeroShotResult, Tensor]:
    """Return the result and the labels of the images."""
    given: dict[str, Any] = {"class_names": names, "text_names": text.class_names} if names and text.class_names else {}
    classify: Callable[..., ZeroShotResult] = partial(zero_shot, images["features"], images["labels"], text.features)
    try:
        return classify(**given), images["labels"]
    except ValueError as error:
        raise ConfigError(str(error), key=KEY, value=how.text_features) from error
