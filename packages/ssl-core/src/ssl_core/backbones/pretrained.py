"""torchvision's own weights, by their names, from its cache or from where it publishes them."""

from pathlib import Path

import torch

from ssl_core.config.validation import suggest_key
from ssl_core.errors import ConfigError


def published_weights(backbone: str, name: str) -> Path:
    """Return the file of weights that torchvision publishes for a backbone, fetched where it is not in torch's cache.

    Parameters
    ----------
    backbone : str
        A name of torchvision, e.g. ``resnet50``.
    name : str
        As torchvision calls them: ``DEFAULT``, ``IMAGENET1K_V1``, ... The file is checked against the digest in its name.

    Raises
    ------
    ConfigError
        (a ValueError) If torchvision has no such backbone or weights, or nothing answers where they are.
    """
    from torchvision.models import get_model_weights

    try:
        entries = get_model_weights(backbone).__members__
    except ValueError as error:
        raise ConfigError(f"weights={name!r}: torchvision publishes none for {backbone!r}; give a file") from error
    if name not in entries:
        raise ConfigError(
            f"weights={name!r}: there is no such file, and torchvision has none{suggest_key(name, entries)}"
        )
    entry = entries[name]
    try:
        entry.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # no network; a download that is not what its digest says
        raise ConfigError(
            f"weights={name!r}: {entry.url} cannot be fetched ({error}); without a network give a file, e.g. "
            f"weights={Path(entry.url).name}"
        ) from error
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
