"""The name of a run folder: a function of the command, so that the same command finds the same folder again."""

import dataclasses
import hashlib
import re
from pathlib import PurePath
from typing import Any

from ssl_core.config import GROUPS
from ssl_data.config import DataConfig

MAX_LENGTH = 60  # characters
NUM_DIGITS = 8  # of the hash
_ORDER = ("model", "optim", "data", "hardware")
_ELSEWHERE = "data.root"  # may differ on resume, e.g. on the disk of a node: the last folder is enough


def run_name(hydra: Any, method: type | None) -> str:
    """Return the name of a run, e.g. ``simclr_cifar10_sgd-lr=2``.

    Parameters
    ----------
    hydra : HydraConf
        Configuration of the job: the name of its recipe and its overrides.
    method : type or None
        The class given to ``launch``, whose name comes first.
    """
    parts = [] if method is None else [method.__name__]
    return name_of([*parts, hydra.job.config_name], list(hydra.overrides.task))


def name_of(parts: list[str], overrides: list[str]) -> str:
    """Return a name of at most 60 characters for a recipe and its overrides.

    Keys appear without their group, model and optim first. The order of the overrides and their ``+`` or ``++`` do not
    matter, and ``log.*`` is left out. If the name is too long, the longest settings are left out; a hash of the whole keeps
    a shortened name unique.

    Parameters
    ----------
    parts : list of str
        The beginning of the name, joined by ``-``.
    overrides : list of str
        ``group.key=value``, as typed.

    Examples
    --------
    >>> name_of(["simclr_digits"], ["++optim.lr=2", "+data.root=/data/cifar10/", "log.wandb=offline"])
    'simclr_digits-lr=2,root=cifar10'
    >>> name_of(["simclr_digits"], ["model.projector=[256,64]"])
    'simclr_digits-projector=256_64-592bb991'
    """
    values = {}  # the last value of a key counts, as in Hydra
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if not key.lstrip("~").startswith("log."):
            values[key] = PurePath(value).name if key == _ELSEWHERE else value
    keys = sorted(values, key=lambda key: (_rank(key), key))
    settings = [f"{_short(key)}={_readable(values[key])}" for key in keys]
    name = _joined(parts, settings)
    if all(map(_is_readable, [*parts, *keys, *values.values()])) and len(name) <= MAX_LENGTH:
        return name
    whole = _joined(parts, [f"{key}={values[key]}" for key in keys])
    while settings and len(_joined(parts, settings)) > MAX_LENGTH - NUM_DIGITS - 1:
        settings.remove(max(settings, key=len))  # short ones, such as lr and seed, stay
    shortened = re.sub(r"[^\w=.,~-]+", "_", _joined(parts, settings), flags=re.ASCII)
    digest = hashlib.sha256(whole.encode()).hexdigest()[:NUM_DIGITS]
    return f"{shortened[: MAX_LENGTH - NUM_DIGITS - 1]}-{digest}"


def _joined(parts: list[str], settings: list[str]) -> str:
    return "-".join([*parts, ",".join(settings)] if settings else parts)


def _rank(key: str) -> int:
    group = key.lstrip("~").partition(".")[0]
    return _ORDER.index(group) if group in _ORDER else len(_ORDER)


def _short(key: str) -> str:
    """Return a key without its group where no other group has a key of this name."""
    group, _, rest = key.partition(".")
    name = rest.partition(".")[0]
    homes = [each for each, kind in {**GROUPS, "data": DataConfig}.items() if name in _names(kind)]
    return rest if homes == [group] or (group == "model" and not homes) else key


def _names(group: type[Any]) -> set[str]:
    return {field.name for field in dataclasses.fields(group)}


def _readable(value: str) -> str:
    """Return a value without brackets, quotes and the folders of a path."""
    return re.sub(r"[^\w.=-]+", "_", PurePath(value).name if "/" in value else value, flags=re.ASCII).strip("_")


def _is_readable(text: str) -> bool:
    return re.fullmatch(r"[\w.~=-]*", text, flags=re.ASCII) is not None
