"""A trained model, from its run folder alone."""

from pathlib import Path
from typing import Any

from torch import nn

from ssl_core.checkpoint.store import CheckpointStore, read_state
from ssl_core.errors import CheckpointError, ConfigError
from ssl_core.run.folder import RunFolder
from ssl_core.run.load_config import read_config
from ssl_core.run.source_location import class_of_run
from ssl_core.training.checks.method import representation_widths
from ssl_core.training.session import RunSession


def load_trained_model(
    method: type | None, folder: str | Path, checkpoint: str | int = "newest", data: Any = None, device: str = "auto"
) -> Any:
    """Return the trained model of a run, in evaluation mode.

    Its session writes nothing. The data is opened only if ``summary.json`` does not have the number of classes and the shape
    of an image.

    Parameters
    ----------
    method : type, optional
        The class of the model. Default: the class of the run, also a user-defined one.
    folder : str or Path
        The run folder.
    checkpoint : "newest" or int
        The newest intact checkpoint, or the step of one.
    data : optional
        The dataclass of user-defined data that is no longer in its file.
    device : {"auto", "cpu", "cuda"}
        Device of the model.

    Raises
    ------
    RunError, ConfigError
        If the folder is not a run, has no such checkpoint, or its class is not found.
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
    model = kind(config)
    model.use(session)
    model.initialize_modules()  # without build(): loading a model does not seed the process
    session.precision.place(model)
    session.widths = representation_widths(model)
    model.initialize_probes()
    load_weights(model, state["model"])
    model.probes.load_state_dict(state["probes"])
    model.progress.load_state_dict(state["progress"])
    return model.eval()


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
    steps = store.by_step()
    if checkpoint not in steps:
        raise ConfigError(
            f"checkpoint={checkpoint!r}: expected 'newest' or one of the steps {', '.join(map(str, sorted(steps)))}"
        )
    return steps[int(checkpoint)]
