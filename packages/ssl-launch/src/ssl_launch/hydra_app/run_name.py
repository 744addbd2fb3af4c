"""The name of a run: a function of its command, so that the same command finds the same folder again."""

import hashlib
import re
from pathlib import PurePath
from typing import Any

LONGEST = 120  # characters; file systems allow 255 bytes


def run_name(hydra: Any, method: type | None) -> str:
    """Return e.g. ``simclr_cifar10_sgd-optim.lr=2``: the method's class if it is one's own, the configuration, what differs.

    Parameters
    ----------
    hydra : HydraConf
        Of this job: its configuration's name and its overrides.
    method : type or None
        The class given to ``launch``.
    """
    parts = [] if method is None else [method.__name__]
    return name_of([*parts, hydra.job.config_name], list(hydra.overrides.task))


def name_of(parts: list[str], overrides: list[str]) -> str:
    """Return the name for the given parts and overrides. ``log.*`` is left out: it says where, not what.

    Examples
    --------
    >>> name_of(["simclr_digits"], ["++optim.lr=2", "+data.root=/data/cifar10/", "log.wandb=offline"])
    'simclr_digits-data.root=cifar10,optim.lr=2'
    """
    said = []
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if not key.startswith("log."):
            said.append(f"{key}={PurePath(value).name if '/' in value else value}")
    name = "-".join([*parts, ",".join(sorted(said))]) if said else "-".join(parts)
    safe = re.sub(r"[^A-Za-z0-9=.,_-]+", "_", name)
    if safe == name and len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]  # of what was replaced or cut
    return f"{safe[: LONGEST - 9]}-{digest}"
