"""Evaluate one checkpoint by all parts of a protocol: the data of the run, and other data that a part names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssl_core.config.dense import DenseEvaluation
from ssl_core.config.validation import check_groups
from ssl_core.errors import ConfigError
from ssl_core.evaluation.evaluate_checkpoint import evaluate_checkpoint
from ssl_core.evaluation.other_data.dense import evaluate_dense
from ssl_core.evaluation.other_data.transfer import evaluate_transfer
from ssl_core.run.folder import RunFolder
from ssl_data import PairedFolder
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
        ``transfer``. With ``transfer`` only the other data sets are evaluated.
    options
        Other arguments of ``evaluate_checkpoint``.

    Notes
    -----
    The data of the run is opened only if a metric needs it: not by ``eval=segmentation`` and ``eval=depth``.

    Raises
    ------
    ConfigError, RunError, DiskError, ValueError
        As the functions of the parts; a ConfigError for a folder that :class:`ssl_data.PairedFolder` does not take.
    """
    parts = parts or {}
    if "transfer" in parts:
        opened = (parts["transfer"], open_transfer, protocol.name, checkpoint, method, data, device)
        return [evaluate_transfer(run, *opened)]
    dense = parts.get("dense")
    pairs = None if dense is None else open_pairs(dense)  # a folder that does not exist is reported before the rest
    of_run = {key: parts[name] for name, key in OF_RUN.items() if name in parts}
    written = []
    if dense is None or others or of_run or not protocol.is_empty:
        options |= {"method": method, "data": data, "device": device, "others": others} | of_run
        written += evaluate_checkpoint(run, protocol, checkpoint, **options)
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
