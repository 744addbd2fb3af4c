"""Suggest a known name for a misspelt one. The only such functions of ssl-core and ssl-launch."""

import difflib
from collections.abc import Iterable

from ssl_core.errors import ConfigError

# Words of other libraries for names of ours; used only where the second word is among the known names.
ALIASES = {
    "gpu": "cuda", "half": "fp16", "float16": "fp16", "bfloat16": "bf16", "float32": "fp32", "float64": "fp64",
    "double": "fp64", "learning_rate": "lr", "wd": "weight_decay", "bs": "batch_size", "num_epochs": "epochs",
    "max_epochs": "epochs", "warmup": "warmup_epochs", "gradient_clip_val": "grad_max_norm", "clip_grad": "grad_max_norm",
    "arch": "backbone", "encoder": "backbone", "encoder_name": "backbone", "tau": "temperature", "workers": "num_workers",
}  # fmt: skip


def close_names(word: str, known: Iterable[str], n: int = 1, cutoff: float = 0.6) -> list[str]:
    """Return up to ``n`` of the known names that resemble a word, the most similar first. Case is ignored.

    ``cutoff`` is the smallest similarity between 0 and 1, as in :func:`difflib.get_close_matches`.

    Examples
    --------
    >>> close_names("adamw", ["Adam", "AdamW"]), close_names("gpu", ["cpu", "cuda"]), close_names("zzz", ["cpu"])
    (['AdamW'], ['cuda'], [])
    """
    folded: dict[str, str] = {}
    for name in known:
        folded.setdefault(name.lower(), name)
    alias = ALIASES.get(word.lower())
    near = difflib.get_close_matches(word.lower(), folded, n=n, cutoff=cutoff)
    return [folded[alias]] if alias in folded and word.lower() not in folded else [folded[name] for name in near]


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return ``"; did you mean 'AdamW'?"`` to append to a message, or an empty string if no known name is similar.

    Examples
    --------
    >>> did_you_mean("simClr", ["simclr", "vicreg"])
    "; did you mean 'simclr'?"
    """
    near = close_names(word, known, cutoff=cutoff)
    return f"; did you mean {near[0]!r}?" if near else ""


def unknown_name(key: str, value: str, known: Iterable[str], reason: str = "", listed_by: str = "") -> ConfigError:
    """Return the error for a value that is not one of the known names.

    ``listed_by`` is a command that lists the names, for the error to show where they are too many.

    Examples
    --------
    >>> print(unknown_name("model.name", "simClr", ["simclr", "vicreg"]))
    model.name='simClr': expected one of 'simclr', 'vicreg'; did you mean 'simclr'?
    >>> print(unknown_name("model.name", "simClr", ["simclr", "vicreg"], listed_by="stable-ssl list methods"))
    model.name='simClr': expected a name that 'stable-ssl list methods' shows; did you mean 'simclr'?
    """
    names = list(known)
    near = close_names(value, names, cutoff=0.5)
    expected = f"a name that {listed_by!r} shows" if listed_by else names
    return ConfigError(reason, key=key, value=value, expected=expected, suggestion=near[0] if near else None)


def unknown_key(key: str, known: Iterable[str], reason: str = "unknown key") -> ConfigError:
    """Return the error for an unknown key, with the nearest known one, or the keys of its group if none is similar.

    Keys are compared within their group: with the group's name in both, ``model.ema`` would resemble ``model.name``.

    Examples
    --------
    >>> known = ["optim.lr", "optim.epochs", "hardware.seed"]
    >>> print(unknown_key("optim.LR", known))
    optim.LR: unknown key; did you mean 'optim.lr'?
    >>> print(unknown_key("optim.seed", known))
    optim.seed: unknown key; did you mean 'hardware.seed'?
    >>> print(unknown_key("optim.zzz", known))
    optim.zzz: unknown key; expected one of 'optim.epochs', 'optim.lr'
    """
    group, _, name = key.rpartition(".")
    groups = {each: each.rpartition(".")[0] for each in sorted(known)}
    inside = {each.rpartition(".")[2]: each for each in groups if groups[each] == group}
    near = [inside[each] for each in close_names(name, inside, cutoff=0.5 if len(name) < 3 else 0.6)]
    near = near or [each for each in groups if each.rpartition(".")[2] == name]  # the right key in the wrong group
    near = near or close_names(key, [each for each in groups if groups[each] != group])  # the group is misspelt
    if group not in groups.values():
        near = near or [f"{each}.{name}" for each in close_names(group, {*groups.values()})]
    expected = "" if near else [*inside.values()] or sorted({*groups.values()})
    return ConfigError(reason, key=key, expected=expected, suggestion=near[0] if near else None)
