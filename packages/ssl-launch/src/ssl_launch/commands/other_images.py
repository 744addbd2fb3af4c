"""Images of other data sets on a command line: names or folders, opened as a run's model has to see them."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ssl_core.errors import ConfigError
from ssl_core.run.folder import RunFolder


def openers(asked: str | Sequence[str], key: str, run: RunFolder) -> dict[str, Callable[..., Any]]:
    """Return the name of each data set, and the function that opens it, without opening any.

    Named data sets are searched for in the run's ``data.root``, or in ``$SSL_DATA_ROOT`` if its data are the user's files.

    Parameters
    ----------
    asked : str or sequence of str
        As :func:`ssl_data.opening.other_images.open_other_images` takes them.
    key : str
        The name of this option in messages.
    run : RunFolder
        The run.

    Raises
    ------
    ConfigError
        For something that is neither a data set nor a file or folder, and for two with the same name.
    """
    wanted = [asked] if isinstance(asked, str) else list(asked)
    if not wanted:
        return {}
    from ssl_data.opening.other_images import (  # imports torch
        check_other_images,
        name_of_other_images,
        open_other_images,
    )

    data = run.read_config().get("data") or {}
    own_files = data.get("dataset") in ("ImageFolder", "Beton", "huggingface", "objects")
    root = os.environ.get("SSL_DATA_ROOT", "data") if own_files or "root" not in data else data["root"]
    options = {name: data[name] for name in ("download", "on_error") if name in data}
    found: dict[str, Callable[..., Any]] = {}
    for each in wanted:
        try:
            check_other_images(each)
        except ValueError as error:
            raise ConfigError(f"{key}={error}") from error
        name = name_of_other_images(each)
        if name in found:
            raise ConfigError(f"{key}={each!r}: another data set has the name {name!r}, too; expected different names")
        found[name] = partial(open_other_images, each, root=root, **options)
    return found
