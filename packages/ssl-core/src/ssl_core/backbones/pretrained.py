"""The weights that torchvision publishes, by name, from torch's cache or downloaded."""

from pathlib import Path

import torch

from ssl_core.config.suggestion import unknown_name
from ssl_core.errors import ConfigError


def published_weights(backbone: str, name: str) -> Path:
    """Return the file of weights that torchvision publishes for a backbone; download it if it is not in torch's cache.

    ``name`` is torchvision's: ``DEFAULT``, ``IMAGENET1K_V1``, ... The file is checked against the digest in its name. A
    ConfigError if torchvision has no such backbone or weights, or they cannot be downloaded.
    """
    from torchvision.models import get_model_weights

    try:
        entries = get_model_weights(backbone).__members__
    except ValueError as error:
        raise ConfigError(
            f"torchvision publishes no weights for {backbone!r}", key="weights", value=name, expected="a file"
        ) from error
    if name not in entries:
        raise unknown_name("weights", name, entries, "no such file, and no such weights of torchvision")
    entry = entries[name]
    try:
        entry.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # no network, or a download with the wrong digest
        raise ConfigError(
            f"{entry.url} cannot be downloaded ({error})",
            key="weights",
            value=name,
            expected=f"without a network, a file, e.g. weights={Path(entry.url).name}",
        ) from error
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
