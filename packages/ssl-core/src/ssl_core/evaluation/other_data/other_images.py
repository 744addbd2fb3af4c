"""Features of images that a run does not know: of another data set, for the detection of images out of distribution."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from ssl_core.errors import ConfigError
from ssl_core.evaluation.features import collect_features
from ssl_core.evaluation.kept_features import features_file, kept_features
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

        def compute(name: str = name, loader: Any = loader) -> dict[str, Tensor]:
            prepare()
            features = collect_features(loader, model.features, model.run.distributed, labelled=False)[0]
            check_features(f"the features of {name}", features)
            return {"features": features}

        # without a fingerprint it is unknown whether the images are the same
        images = {"images": loader.fingerprint()} if hasattr(loader, "fingerprint") else None
        file = None if images is None else features_file(run, asked | images)
        found[name] = kept_features(file, compute, name)["features"]
    return found
