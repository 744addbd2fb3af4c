"""The trained model of a checkpoint with the data of its run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ssl_core.base_model import BaseModel
from ssl_core.checkpoint.store import CheckpointStore, read_state
from ssl_core.run.folder import RunFolder
from ssl_core.run.load_config import read_config
from ssl_core.training.session import RunSession
from ssl_core.training.trained_run import load_weights


@contextmanager
def opened_model(
    run: RunFolder, checkpoint: Path | None = None, method: type | None = None, data: Any = None, device: str = "auto"
) -> Iterator[BaseModel]:
    """Give the model of a checkpoint in evaluation mode, with its data open in ``model.run.loaders``. Nothing is written.

    Parameters are those of :func:`ssl_core.evaluation.feature_cache.extract_features`.
    """
    kind, config = read_config(run, method, data)
    state = read_state(checkpoint or CheckpointStore(run.checkpoints).newest(), torch.device("cpu"))
    model = kind(config)
    with RunSession(config, writes=False, device=device) as session:
        model.use(session)
        model.build()
        load_weights(model, state["model"])
        model.progress.load_state_dict(state["progress"])
        yield model.eval()
