"""A trained model, loaded from its run folder alone."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_core.base_model import BaseModel
from ssl_core.batch import views_of
from ssl_core.checkpoint.store import CheckpointStore, read_state
from ssl_core.errors import CheckpointError, ConfigError
from ssl_core.run.folder import RunFolder
from ssl_core.run.load_config import read_config
from ssl_core.run.source_location import class_of_run
from ssl_core.training.session import RunSession


def load_trained_model(
    folder: str | Path,
    checkpoint: str | int = "newest",
    method: type[BaseModel] | None = None,
    data: Any = None,
    device: str = "auto",
) -> BaseModel:
    """Return the model of a run with its trained weights, in evaluation mode. See :meth:`ssl_core.BaseModel.from_run`."""
    run = RunFolder(folder)
    summary = run.read_summary()
    method = method or class_of_run("method", None, summary, run.path)
    data = data if data is not None else class_of_run("data", None, summary, run.path)
    kind, config = read_config(run, method, data)
    session = RunSession(config, writes=False, device=device)
    path = _checkpoint(run, checkpoint)
    state = read_state(path, session.distributed.device)
    model = kind(config)
    if {"num_classes", "image_shape"} <= summary.keys():  # the data may be elsewhere
        session.num_classes, session.image_shape = summary["num_classes"], tuple(summary["image_shape"])
    else:
        with session:
            pass
    model.use(session)
    model.initialize_modules()  # without build(): loading a model does not seed the process
    session.precision.place(model)
    model.initialize_probes()
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:  # torch lists the keys
        raise CheckpointError(f"{path.name} does not fit {kind.__name__}: {' '.join(str(error).split())}") from error
    model.probes.load_state_dict(state["probes"])
    model.progress.load_state_dict(state["progress"])
    return model.eval()


def _checkpoint(run: RunFolder, checkpoint: str | int) -> Path:
    store = CheckpointStore(run.checkpoints)
    if checkpoint == "newest":
        return store.newest()
    steps = {int(path.stem.removeprefix("step_")): path for path in store.all()}
    if checkpoint not in steps:
        raise ConfigError(
            f"checkpoint={checkpoint!r}: expected 'newest' or one of the steps {', '.join(map(str, sorted(steps)))}"
        )
    return steps[int(checkpoint)]


@torch.no_grad()
def extract(
    features: Callable[[Tensor], Tensor], images: Tensor | Iterable[Any], batch_size: int
) -> Tensor | tuple[Tensor, Tensor]:
    """Return features of a tensor of images, or features and labels of the batches of a loader, on the CPU."""
    if isinstance(images, Tensor):
        return torch.cat([features(part).cpu() for part in images.split(batch_size)])
    rows, labels = [], []
    for views, label, _ in images:
        rows.append(features(views_of(views)[0]).cpu())
        labels.append(label.cpu())
    return torch.cat(rows), torch.cat(labels)
