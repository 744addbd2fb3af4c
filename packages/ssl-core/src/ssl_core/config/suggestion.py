"""Suggest a known name for a misspelt one. The only such function of ssl-core and ssl-launch."""

import difflib
from collections.abc import Iterable

# Words of other libraries for names of ours; used only where the second word is among the known names.
ALIASES = {
    "gpu": "cuda", "half": "fp16", "float16": "fp16", "bfloat16": "bf16", "float32": "fp32", "float64": "fp64",
    "double": "fp64", "learning_rate": "lr", "wd": "weight_decay", "bs": "batch_size", "num_epochs": "epochs",
    "max_epochs": "epochs", "warmup": "warmup_epochs", "gradient_clip_val": "grad_max_norm", "clip_grad": "grad_max_norm",
    "arch": "backbone", "encoder": "backbone", "encoder_name": "backbone", "tau": "temperature", "workers": "num_workers",
}  # fmt: skip


def close_names(word: str, known: Iterable[str], n: int = 1, cutoff: float = 0.6) -> list[str]:
    """Return up to ``n`` of the known names that resemble a word, the most similar first. Case is ignored.

    Parameters
    ----------
    word : str
        The name as the user wrote it.
    known : iterable of str
        The names that exist.
    n : int
        Largest number of names returned.
    cutoff : float
        Smallest similarity between 0 and 1, as in :func:`difflib.get_close_matches`.

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
