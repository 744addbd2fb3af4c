"""Read weights that any program has saved: recognise the file, unwrap the state dict, find the prefix of the backbone."""

import argparse
import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ssl_core.checkpoint.store import CheckpointStore, archive_problem, load_tensors
from ssl_core.errors import CheckpointError

# Entries of a training checkpoint that hold the weights; DINO evaluates its teacher
WRAPPERS = ("backbone", "state_dict", "model_state_dict", "model", "teacher", "student", "target_encoder", "encoder")
# Names inside a prefix, the first preferred: MoCo has encoder_q and encoder_k, DINO a student and a teacher
BACKBONES = (
    "backbone", "teacher", "target_encoder", "encoder", "encoder_q", "base_encoder", "online_encoder", "student",
)  # fmt: skip
# What torch.compile, FSDP and activation checkpointing insert anywhere in a name
_INSERTED = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
_SAVE = "save the weights alone: torch.save(model.state_dict(), FILE)"


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name. No code in it is run.

    The file is a checkpoint of a run, a safetensors file, or a file of ``torch.save``: a state dict, or a training checkpoint
    that holds one under one of :data:`WRAPPERS`, or as its only entry of tensors. Otherwise a CheckpointError says what it
    holds; an OSError if it cannot be read.
    """
    problem = content_problem(path)
    if problem is not None:
        raise CheckpointError(f"{path.name}: {problem}")
    try:
        if _is_safetensors(path):
            state = load_file(path)
        else:
            # The command line in many checkpoints: plain data
            with torch.serialization.safe_globals([argparse.Namespace]):
                state = load_tensors(path, torch.device("cpu"))
    except SafetensorError as error:
        raise CheckpointError(f"{path.name}: not a complete safetensors file ({error}); download it again") from error
    except CheckpointError as error:
        raise CheckpointError(f"{error}; download it again, or {_SAVE}") from error
    if isinstance(state, dict) and state.get("format") == CheckpointStore.FORMAT:  # of a run: its CRCs have to be right
        problem = archive_problem(path)
    if problem is None:
        found = _unwrap(state)
        if isinstance(found, Mapping):
            return {_without_inserted(name): tensor for name, tensor in found.items()}
        problem = found
    raise CheckpointError(f"{path.name}: {problem}")


def content_problem(path: Path) -> str | None:
    """Return what a file holds instead of weights, from its first bytes; None where it may hold weights."""
    with open(path, "rb") as file:
        start = file.read(100)
    if start.startswith(b"PK\x03\x04"):
        return None if zipfile.is_zipfile(path) else "truncated: its end is missing; download it again"
    if start.isascii() and all(chr(byte).isprintable() or chr(byte).isspace() for byte in start):
        return (
            f"a text file, not weights; it begins with {' '.join(start.decode().split())[:40]!r}; download the file itself "
            "(where it is a git-LFS pointer, with `git lfs pull`)"
        )
    return None


def prefix_of(names: Collection[str], expected: Collection[str]) -> str:
    """Return the prefix of the names ``expected`` of a backbone among the ``names`` in a file; an empty string for none.

    Raises a CheckpointError if several prefixes fit equally well and none of them is in :data:`BACKBONES`.

    Examples
    --------
    >>> prefix_of(["module.encoder_q.conv1.weight", "module.encoder_k.conv1.weight", "queue"], ["conv1.weight"])
    'module.encoder_q.'
    """
    expected = set(expected)
    hits: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        hits.update(".".join([*parts[:n], ""]) for n in range(len(parts)) if ".".join(parts[n:]) in expected)
    if not hits or hits[""] == max(hits.values()):
        return ""
    found = [prefix for prefix, count in hits.items() if count == max(hits.values())]
    ranks = {
        prefix: min(BACKBONES.index(part) if part in BACKBONES else len(BACKBONES) for part in prefix.split("."))
        for prefix in found
    }
    best = [prefix for prefix in found if ranks[prefix] == min(ranks.values())]
    if len(best) > 1:
        raise CheckpointError(
            f"several modules fit the backbone: {', '.join(best[:4])}; save the state_dict() of one of them"
        )
    return best[0]


def not_finite(weights: Mapping[str, Tensor]) -> list[str]:
    """Return the tensors that hold NaN or infinity, and how many: ``["conv1.weight (3 of 1,728)", ...]``.

    Examples
    --------
    >>> not_finite({"a": torch.ones(2), "b": torch.tensor([1, float("nan")])})
    ['b (1 of 2)']
    """
    counts = {
        name: int((~tensor.float().isfinite()).sum()) for name, tensor in weights.items() if tensor.is_floating_point()
    }
    return [f"{name} ({count:,} of {weights[name].numel():,})" for name, count in counts.items() if count]


def first(names: Iterable[str], most: int = 3) -> str:
    """Return the first of many names, and how many more there are.

    Examples
    --------
    >>> first("abcde")
    'a, b, c and 2 more'
    """
    every = list(names)
    return ", ".join(every[:most]) + (f" and {len(every) - most:,} more" if len(every) > most else "")


def _unwrap(state: Any) -> Mapping[str, Tensor] | str:
    """Return the state dict in the content of a file, or what the file holds instead."""
    for _ in range(3):  # {"model": {"state_dict": ...}}
        if _is_state_dict(state):
            return state
        if not isinstance(state, Mapping):
            break
        known = [state[key] for key in WRAPPERS if isinstance(state.get(key), Mapping)]
        others = [value for value in state.values() if _is_state_dict(value)]
        if not known and len(others) != 1:
            break
        state = known[0] if known else others[0]
    found = f"a {type(state).__name__}"
    if isinstance(state, Mapping):
        found = f"the entries {first(map(repr, state))}" if state else "no entries"
    return f"expected a checkpoint of a run, or tensors by name, found {found}; {_SAVE}"


def _is_state_dict(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(each, Tensor) for each in value.values())


def _without_inserted(name: str) -> str:
    for inserted in _INSERTED:
        name = name.replace(inserted, "")
    return name


def _is_safetensors(path: Path) -> bool:
    """Return whether a file is a safetensors file by its name, or by the JSON that follows its first 8 bytes."""
    with open(path, "rb") as file:
        return path.suffix == ".safetensors" or file.read(9)[8:] == b"{"
