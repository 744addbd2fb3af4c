"""Fine-tuning: a checkpoint's backbone and a linear classifier, trained on a share of the labels.

Each share and draw is a run ``<run>/eval/fine_tuning/<share>_percent_seed_<n>_<digest>``, resumable and reproducible as every
run. The digest is of the weights and of the configuration.
"""

import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ssl_core.backbones import build_backbone
from ssl_core.checkpoint.pretrained import weights_for
from ssl_core.checkpoint.store import CheckpointStore
from ssl_core.config import Config, LogConfig, OptimConfig
from ssl_core.config.fine_tuning import FineTuning
from ssl_core.config.validation import check_groups
from ssl_core.errors import ConfigError
from ssl_core.methods.supervised import Supervised, SupervisedConfig
from ssl_core.run.folder import RunFolder, config_hash


def fine_tune(
    run: RunFolder, config: Config, checkpoint: Path, sha256: str, how: FineTuning, device: str = "auto"
) -> dict[str, Any]:
    """Fine-tune a checkpoint of a run on each share of the labels; a part that has finished is only read.

    ``config`` is that of the run, ``checkpoint`` one of its checkpoints, which is only read, and ``sha256`` its digest.

    Returns
    -------
    dict
        ``metrics``: name of an evaluation set -> ``fine_tuning_<share>_percent`` -> top-1 accuracy after the last epoch; of
        several draws their mean, std and n. ``runs``: folder, fraction, seed and number of images of each.

    Raises
    ------
    ConfigError
        (a ValueError) If the data cannot give a share of its labels, or the backbone is not that of the catalogue.
    Preempted
        After a signal: the state is saved, and the same command resumes.
    """
    check_groups({"eval.finetune": how})
    _check_backbone(run, config, checkpoint)
    accuracies: dict[str, dict[str, list[float]]] = {}
    runs = []
    for fraction, seed, tuned, images in _configurations(run, config, checkpoint, sha256, how, device):
        last = Supervised(tuned).fit()
        folder = RunFolder.of(tuned).path.relative_to(run.path).as_posix()
        runs.append({"folder": folder, "fraction": fraction, "seed": seed, "images": images})
        for name, value in last.items():
            dataset, _, metric = name.rpartition("/")
            if metric == "accuracy":
                accuracies.setdefault(dataset, {}).setdefault(f"fine_tuning_{_percent(fraction)}", []).append(value)
    metrics = {
        dataset: {name: _spread(values) for name, values in found.items()} for dataset, found in accuracies.items()
    }
    return {"metrics": metrics, "runs": runs}


def _configurations(
    run: RunFolder, config: Config, checkpoint: Path, sha256: str, how: FineTuning, device: str
) -> Iterator[tuple[float, int, Config, int]]:
    """Yield fraction, seed, configuration and number of images of each run."""
    model = SupervisedConfig(
        "supervised", config.model.backbone, config.model.backbone_options, label_smoothing=how.label_smoothing
    )
    shared = ("optimizer", "lr", "layer_decay", "weight_decay", "warmup_epochs", "epochs")
    for fraction in how.fractions:
        for seed in range(how.seed, how.seed + how.draws):
            data, images = _labelled_part(config.data, fraction, seed, how.views)
            hardware = replace(config.hardware, seed=seed, device=device, compile=False, strategy="ddp", profile=0)
            optim = OptimConfig(batch_size=min(how.batch_size, images), **{name: getattr(how, name) for name in shared})
            log = LogConfig(
                folder=str(run.evaluations / "fine_tuning"),
                eval_every=0,
                knn_samples=0,
                checkpoint_every_minutes=10.0,
                keep_checkpoints=1,
                report=False,
                level=config.log.level,
            )
            tuned = Config(data, replace(model, init_from=sha256), optim, hardware, log)
            log.run = f"{_percent(fraction)}_seed_{seed}_{config_hash(tuned)}"  # of the weights, not of their place
            tuned.model.init_from = _initial_weights(RunFolder.of(tuned)) or str(checkpoint)
            yield fraction, seed, tuned, images


def _labelled_part(data: Any, fraction: float, seed: int, views: Any) -> tuple[Any, int]:
    """Return the data of a share of the labels, and its number of images. Data without ``labelled_part`` has one: all."""
    if hasattr(data, "labelled_part"):
        return data.labelled_part(fraction, seed, views)
    if fraction != 1 or views:
        key, value = ("views", views) if fraction == 1 else ("fractions", [fraction])
        raise ConfigError(
            f"eval.finetune.{key}={value!r}: {type(data).__name__} gives all of its images and its own views; give it a "
            "method labelled_part(fraction, seed, views) that returns a configuration and its number of images, or take "
            "fractions=[1]"
        )
    return data, len(data.open(1, seed, 0, 1).train)


def _initial_weights(folder: RunFolder) -> str | None:
    """Return the path of the initial weights of a resumed run: the source may have been moved since."""
    if not CheckpointStore(folder.checkpoints).all():
        return None
    return folder.read_config()["model"]["init_from"]


def _check_backbone(run: RunFolder, config: Config, checkpoint: Path) -> None:
    """Raise for a backbone that cannot be built by its name, before a run is created for it."""
    shape = run.read_summary().get("image_shape")
    if shape is None:
        return
    with torch.random.fork_rng(devices=[]):
        backbone = build_backbone(config.model.backbone, tuple(shape), **config.model.backbone_options)
    try:
        weights_for(backbone, str(checkpoint))
    except ConfigError as error:
        raise ConfigError(
            f"eval.finetune: a run's backbone is built anew by its name, model.backbone={config.model.backbone!r}, and "
            f"{config.model.name} has a user-defined one ({error})"
        ) from error


def _percent(fraction: float) -> str:
    return f"{100 * fraction:g}_percent"


def _spread(values: list[float]) -> Any:
    if len(values) == 1:
        return values[0]
    return {"mean": statistics.fmean(values), "std": statistics.stdev(values), "n": len(values)}
