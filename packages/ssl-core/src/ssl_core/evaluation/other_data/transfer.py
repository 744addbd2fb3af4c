"""Linear evaluation on other data sets: ``<run>/eval/<protocol>.json`` with the customary metric of each, and their mean."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from ssl_core.checkpoint.store import CheckpointStore, sha256_of, step_of
from ssl_core.config.transfer import Transfer
from ssl_core.config.validation import check_groups
from ssl_core.errors import ConfigError, RunError
from ssl_core.evaluation.evaluation_file import (
    check_evaluable,
    checkpoint_facts,
    evaluation_head,
    evaluation_label,
    write_evaluation,
)
from ssl_core.evaluation.features import collect_features
from ssl_core.evaluation.kept_features import code_of
from ssl_core.evaluation.other_data.finished_parts import FinishedParts
from ssl_core.run.folder import RunFolder
from ssl_core.training.trained_run import load_trained_model
from ssl_eval import accuracy, balanced_accuracy, linear_probe, multilabel_probe

_message = logging.getLogger(__name__)

# From name, root, image_shape, mean, std, batch_size, download, metric and seed to an object with ``train`` and ``test``,
# loaders in the order of the samples; ``metric``, one of ssl_core.config.transfer.METRICS; ``targets``, None or the labels
# (N, K) and (M, K) of images with several; and fingerprint(). A FileNotFoundError: the data set is missing. See ssl_data.
OpenTransfer = Callable[..., Any]


def evaluate_transfer(
    run: RunFolder, how: Transfer, open_transfer: OpenTransfer, name: str = "transfer", checkpoint: Path | None = None,
    method: type | None = None, data: Any = None, device: str = "auto",
) -> Path:  # fmt: skip
    """Evaluate a checkpoint on other data sets; write and return the file.

    On each data set a linear probe is fitted to the frozen features of its training images and tested on its test images,
    under the evaluation view and the normalisation of the run (Kornblith et al. 2019, https://arxiv.org/abs/1805.08974). Data
    sets that are missing are named in ``omitted``. The data of the run is not opened. A data set that was evaluated before is
    not computed again.

    Parameters
    ----------
    run : RunFolder
        The run.
    how : Transfer
        Data sets and metrics.
    open_transfer : callable
        Opens a data set, such as ``ssl_data.opening.open_transfer.open_transfer``.
    name : str
        Name of the file, ``eval/<name>.json``.
    checkpoint : Path, optional
        One of the checkpoints. Default: the newest intact one.
    method, data, device
        As in :func:`ssl_core.training.trained_run.load_trained_model`.

    Raises
    ------
    ConfigError
        If no data set is there. Nothing is written then.
    RunError
        For a run without the shape or the normalisation of its images, and for a data set that does not fit the run.
    DiskError
        If a file cannot be written.
    """
    began = time.perf_counter()
    check_groups({"eval.transfer": how})
    check_evaluable(run)
    path = checkpoint or CheckpointStore(run.checkpoints).newest()
    model = load_trained_model(method, run.path, step_of(path), data, device)
    view = _view_of(run, model)
    sha256 = sha256_of(path)
    depends = {
        "checkpoint": sha256,
        "method": code_of(type(model)),
        "precision": model.run.precision.name,
        "view": view,
        "torch": torch.__version__,
    }
    parts = FinishedParts(run.evaluations, "transfer", depends, model.run.distributed.is_main)
    found: dict[str, Any] = {}
    missing: dict[str, str] = {}
    with model.run.distributed:
        for dataset in how.datasets:
            try:
                opened = open_transfer(
                    dataset, how.root, **view, download=how.download, metric=how.metrics.get(dataset), seed=how.seed
                )
                found[dataset] = _finished(model, opened, how.seed, parts, dataset)
            except (FileNotFoundError, ImportError) as error:  # torchvision reads some with packages of their own
                missing[dataset] = " ".join(str(error).split())
                _message.warning("skipped %s: %s", dataset, missing[dataset])
            except ValueError as error:
                raise RunError(f"eval.transfer: {dataset}: {' '.join(str(error).split())}") from error
    if not found:
        first, reason = next(iter(missing.items()))
        raise ConfigError(f"eval.transfer.datasets: none of {len(missing)} was found; the first: {first}: {reason}")
    step, epoch = model.progress.step, model.progress.epoch
    head = evaluation_head(name, checkpoint_facts(path, sha256, model.config, step, epoch), "transfer", began)
    document = {**head, **_results(how, found, missing)}
    return write_evaluation(run, evaluation_label(name, checkpoint, step), document)


def _results(how: Transfer, found: dict[str, Any], missing: dict[str, str]) -> dict[str, Any]:
    """Return the contents of the file, without protocol and checkpoint."""
    values = {f"transfer_{Path(dataset).name}": each["value"] for dataset, each in found.items()}
    omitted = {f"transfer_{Path(dataset).name}": reason for dataset, reason in missing.items()}
    return {
        "settings": {"transfer": asdict(how)},
        "metrics": {"transfer_mean": fmean(values.values()), **values},
        "transfer": found,
        **({"omitted": omitted} if omitted else {}),
    }


def _view_of(run: RunFolder, model: Any) -> dict[str, Any]:
    """Return shape, mean and deviation of the run's images, and its batch size."""
    summary = run.read_summary()
    if not all(summary.get(key) for key in ("image_shape", "mean", "std")):
        raise RunError(
            f"'{run.path}' has recorded no image_shape, mean and std: its views are functions, or it has not begun; other data "
            "sets cannot be shown to it in the same way"
        )
    return {
        **{key: summary[key] for key in ("image_shape", "mean", "std")},
        "batch_size": model.config.optim.batch_size,
    }


def _finished(model: Any, opened: Any, seed: int, parts: FinishedParts, dataset: str) -> dict[str, Any]:
    """Return metric, value and numbers of a data set; read if it was evaluated before."""
    key = {"dataset": dataset, "metric": opened.metric, "seed": seed, "data": opened.fingerprint()}
    part = json.dumps(key, sort_keys=True)
    done = parts.get(part)
    if done is None:
        done = _evaluate(model, opened, seed)
        parts.add(part, done)
    return done


def _evaluate(model: Any, opened: Any, seed: int) -> dict[str, Any]:
    labelled = opened.targets is None
    train, test = (
        collect_features(loader, model.features, model.run.distributed, labelled)
        for loader in (opened.train, opened.test)
    )
    if labelled:
        scores = linear_probe(*train, *test, seed=seed).scores
        value = (
            balanced_accuracy(scores, test[1])
            if opened.metric == "mean_per_class"
            else accuracy(scores, test[1], (1,))[0]
        )
        classes = scores.shape[1]
    else:
        of_train, of_test = map(torch.as_tensor, opened.targets)
        value = multilabel_probe(train[0], of_train, test[0], of_test, seed).mean_average_precision
        classes = of_train.shape[1]
    return {
        "metric": opened.metric, "value": value, "classes": classes, "train_images": len(train[0]), "test_images": len(test[0]),
    }  # fmt: skip
