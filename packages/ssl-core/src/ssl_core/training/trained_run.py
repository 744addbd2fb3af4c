"""A run that is read, not trained: its class, configuration and checkpoint, from its folder alone."""

from pathlib import Path
from typing import Any

from torch import nn

from ssl_core.checkpoint.store import CheckpointStore, read_state
from ssl_core.errors import CheckpointError, ConfigError
from ssl_core.run.folder import RunFolder
from ssl_core.run.load_config import read_config
from ssl_core.run.source_location import class_of_run
from ssl_core.training.session import RunSession


def open_trained_run(
    folder: str | Path, checkpoint: str | int, method: type | None, data: Any, device: str
) -> tuple[Any, RunSession, dict[str, Any]]:
    """Return the class of a run, a session that writes nothing, and the state of a checkpoint.

    The session knows the number of classes and the shape of an image; the data is opened only if ``summary.json`` does not
    have them. Parameters and errors: as :meth:`ssl_core.BaseModel.from_run`; ``method=None``: the class of the run.
    """
    run = RunFolder(folder)
    summary = run.read_summary()
    method = method or class_of_run("method", None, summary, run.path)
    data = data if data is not None else class_of_run("data", None, summary, run.path)
    kind, config = read_config(run, method, data)
    session = RunSession(config, writes=False, device=device)
    state = read_state(_path(run, checkpoint), session.distributed.device)
    if {"num_classes", "image_shape"} <= summary.keys():
        session.num_classes, session.image_shape = summary["num_classes"], tuple(summary["image_shape"])
    else:
        with session:
            pass
    return kind, session, state


def load_weights(model: nn.Module, weights: dict[str, Any]) -> None:
    """Load the weights of a checkpoint.

    Raises
    ------
    CheckpointError
        If they do not fit the model.
    """
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:  # torch lists the keys
        reason = " ".join(str(error).split())
        raise CheckpointError(f"the checkpoint does not fit {type(model).__name__}: {reason}") from error


def _path(run: RunFolder, checkpoint: str | int) -> Path:
    store = CheckpointStore(run.checkpoints)
    if checkpoint == "newest":
        return store.newest()
    steps = {int(path.stem.removeprefix("step_")): path for path in store.all()}
    if checkpoint not in steps:
        raise ConfigError(
            f"checkpoint={checkpoint!r}: expected 'newest' or one of the steps {', '.join(map(str, sorted(steps)))}"
        )
    return steps[int(checkpoint)]
