"""Features of images that a run does not know: of another data set, for the detection of images out of distribution."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ssl_core.checkpoint.export import write_safetensors
from ssl_core.errors import ConfigError
from ssl_core.evaluation.features import collect_features
from ssl_core.run.folder import RunFolder
from ssl_eval.validation import check_features

# (loaders of the model, images a batch, rank, number of ranks) -> loader of other images, as the model has to see them
OpenImages = Callable[[Any, int, int, int], Any]


def open_images(model: Any, name: str, opened: OpenImages, key: str = "ood") -> Any:
    """Return the loader of other images for a model in a session; ``key`` is the option that has named them.

    Raises
    ------
    ConfigError
        If they cannot be opened for this model; the message begins with the option.
    """
    run = model.run
    batch_size, ranks = run.config.optim.batch_size, run.distributed
    try:
        with ranks.main_first():
            return opened(run.loaders, batch_size, ranks.rank, ranks.world_size)
    except (ValueError, OSError, ImportError) as error:
        raise ConfigError(f"{key}={name!r}: {' '.join(str(error).split())}") from error


def features_of_others(
    model: Any, prepare: Callable[[], None], others: Mapping[str, OpenImages], run: RunFolder, asked: dict[str, Any]
) -> dict[str, Tensor]:
    """Return the features ``(L, D)`` of the images of other data sets, kept in ``<run>/eval`` as those of the run.

    Parameters
    ----------
    model : BaseModel
        In a session that is open.
    prepare : callable
        Builds the model and loads its weights; called once, before features are computed.
    others : mapping of str to callable
        Name of a data set -> function that opens it.
    run : RunFolder
        The run.
    asked : dict
        What the features depend on, besides the images.

    Raises
    ------
    ConfigError
        If images cannot be opened for this model.
    ValueError
        If features are not finite.
    """
    loaders = {name: open_images(model, name, opened) for name, opened in others.items()}  # before any is computed
    found: dict[str, Tensor] = {}
    for name, loader in loaders.items():
        file = None
        if hasattr(loader, "fingerprint"):  # else it is unknown whether the images are the same
            key = json.dumps({**asked, "images": loader.fingerprint()}, sort_keys=True)
            file = run.evaluations / f"features_{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"
        kept = None if file is None else _read(file)
        if kept is None:
            prepare()
            kept = collect_features(loader, model.features, model.run.distributed, labelled=False)[0].cpu()
            check_features(f"the features of {name}", kept)
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                write_safetensors(file, {"features": kept.contiguous()}, {"images": name})
        found[name] = kept
    return found


def _read(file: Path) -> Tensor | None:
    try:
        return load_file(file)["features"] if file.exists() else None
    except (SafetensorError, OSError, KeyError):
        return None
