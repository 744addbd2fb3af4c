"""Evaluate one checkpoint by all parts of a protocol: features of the run's data, and images with maps of their pixels."""

from pathlib import Path
from typing import Any

from ssl_core.config.dense import DenseEvaluation
from ssl_core.config.fine_tuning import FineTuning
from ssl_core.config.validation import check_groups
from ssl_core.errors import ConfigError
from ssl_core.evaluation.dense import evaluate_dense
from ssl_core.evaluation.evaluate_checkpoint import evaluate_checkpoint
from ssl_core.run.folder import RunFolder
from ssl_data import PairedFolder
from ssl_eval import Protocol


def evaluate_run(
    run: RunFolder,
    protocol: Protocol,
    checkpoint: Path | None = None,
    *,
    method: type | None = None,
    data: Any = None,
    device: str = "auto",
    fine_tuning: FineTuning | None = None,
    dense: DenseEvaluation | None = None,
    **options: Any,
) -> list[Path]:
    """Return the files of an evaluation; the arguments are those of ``evaluate_checkpoint`` and ``evaluate_dense``.

    The data of the run is opened only if a metric needs it: not by ``eval=segmentation`` and ``eval=depth``.

    Raises
    ------
    ConfigError, RunError, DiskError, ValueError
        As these two; a ConfigError for a folder that :class:`ssl_data.PairedFolder` does not take.
    """
    pairs = None if dense is None else open_pairs(dense)  # a folder that does not exist is reported before the rest
    written = []
    more = [fine_tuning, *(options.get(name) for name in ("corruptions", "shifts", "others"))]
    if dense is None or any(more) or not protocol.is_empty:
        shared: dict[str, Any] = {"method": method, "data": data, "device": device, "fine_tuning": fine_tuning}
        written += evaluate_checkpoint(run, protocol, checkpoint, **shared, **options)
    if dense is not None and pairs is not None:
        written.append(evaluate_dense(run, dense, pairs, checkpoint, method, data, device, protocol.name))
    return written


def open_pairs(dense: DenseEvaluation) -> PairedFolder:
    """Return the images and maps of a dense evaluation; a folder without them is a ConfigError."""
    names = ("targets", "reduce_zero_label", "depth_scale", "test_fraction", "train_images", "seed")
    check_groups({"eval.dense": dense})
    try:
        return PairedFolder(str(dense.root), **{name: getattr(dense, name) for name in names}, key="eval.dense.root")
    except (ValueError, FileNotFoundError) as error:
        raise ConfigError(str(error)) from error
