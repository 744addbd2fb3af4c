"""The file of an evaluation, ``<run>/eval/<label>.json``, with its hits and pictures, and its metrics in the summary."""

import io
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ssl_core.distributed.launch_environment import check_one_process
from ssl_core.errors import ConfigError, DiskError
from ssl_core.run.atomic_file import check_writable, translate_disk_errors, write_atomically
from ssl_core.run.environment import versions
from ssl_core.run.folder import RunFolder
from ssl_core.run.lock import lock_file

# (path without its suffix) -> the pictures that it has written, and why others are missing, both by name
Draw = Callable[[Path], tuple[dict[str, Path], dict[str, str]]]


def check_evaluable(run: RunFolder) -> None:
    """Raise a ConfigError on several ranks, and a DiskError if no evaluation can be written. Called before anything else."""
    check_one_process("an evaluation")
    check_writable(run.evaluations)


def check_test_images(run: RunFolder, loaders: Any) -> None:
    """Raise a ConfigError for data without an evaluation set. Called before any features are computed."""
    if not loaders.evaluation:
        raise ConfigError(
            f"'{run.path}': its data has no test images to evaluate; expected an evaluation set, e.g. "
            "DataConfig.of(train=..., test=...), or another data configuration: --data FILE.py:MyData"
        )


def evaluation_label(name: str, checkpoint: Path | None, step: int) -> str:
    """Return the name of the file of an evaluation, without its suffix.

    It has the step for a checkpoint that is not the last one of its folder. ``None``: the newest intact checkpoint.
    """
    last = checkpoint is None or checkpoint.name == max(each.name for each in checkpoint.parent.glob("step_*.pt"))
    return name if last else f"{name}_step_{step}"


def checkpoint_facts(checkpoint: Path, sha256: str, config: Any, step: int, epoch: int) -> dict[str, Any]:
    """Return what every evaluation records of its checkpoint; ``config`` is the configuration of the run."""
    return {
        "checkpoint": checkpoint.name,
        "sha256": sha256,
        "step": step,
        "epoch": epoch,
        "seed": config.hardware.seed,
        "backbone": config.model.backbone,
    }


def evaluation_head(protocol: str, checkpoint: dict[str, Any], dataset: str, began: float) -> dict[str, Any]:
    """Return what every evaluation records.

    Parameters
    ----------
    protocol : str
        Name of the protocol.
    checkpoint : dict
        From :func:`checkpoint_facts`.
    dataset : str
        Name of the images.
    began : float
        ``time.perf_counter()`` at the start of the evaluation.
    """
    return {
        "protocol": protocol,
        **checkpoint,
        "dataset": dataset,
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": versions(),
        "seconds": round(time.perf_counter() - began, 3),
    }


def write_evaluation(
    run: RunFolder, label: str, document: dict[str, Any], hits: Any = None, draw: Draw | None = None
) -> Path:
    """Write an evaluation and return its path; the one of an earlier checkpoint is kept under another name.

    Parameters
    ----------
    run : RunFolder
        The run.
    label : str
        Name of the file, without its suffix.
    document : dict
        Plain values, with ``step`` and ``metrics``.
    hits : Tensor, optional
        ``(M,) bool``, written beside the file.
    draw : callable, optional
        ``draw(stem)`` writes pictures ``<stem>_<picture>.png``; called when those of an earlier step have been kept.

    Raises
    ------
    DiskError
        If a file cannot be written. Earlier files are unchanged.
    """
    path = run.evaluations / f"{label}.json"
    with translate_disk_errors(path, 0):
        path.parent.mkdir(exist_ok=True)
        _keep_earlier(run, path, document["step"])
        if draw is not None:
            _add_pictures(document, draw(path.with_name(label)))
        _write(run, path, document, hits)
    _note(run, label, document)
    return path


def _add_pictures(document: dict[str, Any], pictures: tuple[dict[str, Path], dict[str, str]]) -> None:
    """Add the files of pictures, relative to the run folder, and why others are missing."""
    written, omitted = pictures
    if written:
        document["pictures"] = {picture: f"{file.parent.name}/{file.name}" for picture, file in written.items()}
    if omitted:
        document["omitted"] = document.get("omitted", {}) | omitted


def _write(run: RunFolder, path: Path, document: dict[str, Any], hits: Any) -> None:
    """Write the hits, then the file that names them: both, or what was there before."""
    if hits is not None:
        document["hits"] = f"{path.parent.name}/{path.stem}_hits.npy"
        file = io.BytesIO()
        np.save(file, hits.cpu().numpy())
        write_atomically(run.path / document["hits"], file.getvalue())
    try:
        write_atomically(path, json.dumps(document, allow_nan=False) + "\n")
    except DiskError:
        if hits is not None and not path.exists():
            (run.path / document["hits"]).unlink(missing_ok=True)
        raise


def _keep_earlier(run: RunFolder, path: Path, step: int) -> None:
    """Rename the evaluation of an earlier checkpoint, which was the newest at that time, before it is replaced."""
    try:
        earlier = json.loads(path.read_text())
        label = f"{path.stem}_step_{int(earlier['step'])}"
    except (OSError, ValueError, KeyError, TypeError):
        return  # it does not exist, or is not an evaluation
    if earlier["step"] >= step:
        return
    hits = earlier.get("hits")
    if isinstance(hits, str) and (run.path / hits).is_file():
        earlier["hits"] = f"{path.parent.name}/{label}_hits.npy"
        shutil.copyfile(run.path / hits, run.path / earlier["hits"])
    for picture, file in (earlier.get("pictures") or {}).items():
        if (run.path / file).is_file():
            earlier["pictures"][picture] = f"{path.parent.name}/{label}_{picture}.png"
            shutil.copyfile(run.path / file, run.path / earlier["pictures"][picture])
    write_atomically(path.with_name(f"{label}.json"), json.dumps(earlier) + "\n")


def _note(run: RunFolder, label: str, document: dict[str, Any]) -> None:
    """Append the metrics to the summary of a run that has ended; one in progress writes its own, again and again."""
    with open(run.evaluations / ".lock", "w") as lock:  # jobs for several checkpoints may end at the same time
        lock_file(lock, wait=True)
        summary = run.read_summary()
        if summary.get("status") not in (None, "running"):
            noted = {"step": document["step"], **document["metrics"]}
            run.write_summary({**summary, "evaluations": {**summary.get("evaluations", {}), label: noted}})
