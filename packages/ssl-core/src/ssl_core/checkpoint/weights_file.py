"""Weights from files that other programs wrote: recognise the content, unwrap the state dict, find the backbone's prefix."""

import argparse
import re
import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_core.checkpoint.store import is_checkpoint, load_tensors, read_state
from ssl_core.errors import CheckpointError

# Entries of a training checkpoint that hold the weights; DINO evaluates its teacher
WRAPPERS = ("backbone", "state_dict", "model_state_dict", "model", "teacher", "student", "target_encoder", "encoder")
# Names inside a prefix, the first preferred: MoCo has encoder_q and encoder_k, DINO a student and a teacher
BACKBONES = (
    "backbone",
    "teacher",
    "target_encoder",
    "encoder",
    "encoder_q",
    "base_encoder",
    "online_encoder",
    "student",
)
# What torch.compile, FSDP and activation checkpointing insert anywhere in a name
_INSERTED = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
_SAVE = "torch.save(model.state_dict(), FILE)"
_START = 1024  # bytes that tell what a file is


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by their names. No code in it is run.

    Parameters
    ----------
    path : Path
        A checkpoint of a run (with its ``.sha256``), a safetensors file, or a file of ``torch.save``: a state dict, or a
        training checkpoint that holds one under one of :data:`WRAPPERS`, or as its only entry of tensors.

    Raises
    ------
    CheckpointError
        If the file holds no weights; the message says what it holds.
    OSError
        If it cannot be read.
    """
    problem = content_problem(path)
    if problem is not None:
        raise CheckpointError(f"{path.name}: {problem}")
    if _is_safetensors(path):
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return _without_inserted(load_file(path))
        except SafetensorError as error:
            raise CheckpointError(f"{path.name}: not a whole safetensors file ({error}); fetch it again") from error
    if is_checkpoint(path):
        return read_state(path, torch.device("cpu"))["model"]
    # Many training checkpoints keep their command line, which is plain data
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            state = load_tensors(path, torch.device("cpu"))
    except CheckpointError as error:
        raise CheckpointError(f"{error}; fetch it again, or save the weights alone: {_SAVE}") from error
    try:
        return _without_inserted(_unwrapped(state))
    except CheckpointError as error:
        raise CheckpointError(f"{path.name}: {error}") from error


def content_problem(path: Path) -> str | None:
    """Return what a file holds in place of weights, from its first bytes; None where it may hold weights."""
    if is_checkpoint(path):
        return None  # its digest says whether it is whole
    with open(path, "rb") as file:
        start = file.read(_START)
    if not start:
        return "the file is empty; fetch it again"
    if start.startswith(b"version https://git-lfs"):
        size = re.search(rb"size (\d+)", start)
        of = f" (of {int(size[1]):,} bytes)" if size else ""
        return (
            f"a git-LFS pointer, not the weights{of}; run `git lfs pull` in its repository, or download the file itself"
        )
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, not weights; download the file itself"
    if start.startswith(b"PK\x03\x04"):
        return _archive_problem(path)
    text = _text(start)
    return None if text is None else f"a text file, not weights; it begins with {text[:40]!r}"


def prefix_of(names: Collection[str], expected: Collection[str]) -> str:
    """Return what stands before the backbone's names in a file: ``"module."``, say; an empty string where nothing does.

    Parameters
    ----------
    names : collection of str
        Those in the file.
    expected : collection of str
        Those of the backbone.

    Raises
    ------
    CheckpointError
        If several prefixes fit equally well and none of them is known as the backbone's.

    Examples
    --------
    >>> prefix_of(["module.encoder_q.conv1.weight", "module.encoder_k.conv1.weight", "queue"], ["conv1.weight"])
    'module.encoder_q.'
    """
    expected = set(expected)
    hits: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        for n in range(len(parts)):
            if ".".join(parts[n:]) in expected:
                hits[".".join([*parts[:n], ""])] += 1
    if not hits or hits[""] == max(hits.values()):
        return ""
    found = [prefix for prefix, count in hits.items() if count == max(hits.values())]
    ranks = {prefix: min(map(_rank, prefix.split("."))) for prefix in found}
    best = [prefix for prefix in found if ranks[prefix] == min(ranks.values())]
    if len(best) > 1:
        raise CheckpointError(
            f"several modules fit the backbone: {', '.join(best[:4])}; keep one of them: save its state_dict()"
        )
    return best[0]


def not_finite(weights: Mapping[str, Tensor]) -> list[str]:
    """Return ``["conv1.weight (3 of 1,728)", ...]``: the tensors that hold NaN or infinity, and how many.

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
    """Return the first names of many, and how many more there are.

    Examples
    --------
    >>> first("abcde")
    'a, b, c and 2 more'
    """
    every = list(names)
    return ", ".join(every[:most]) + (f" and {len(every) - most:,} more" if len(every) > most else "")


def _rank(part: str) -> int:
    return BACKBONES.index(part) if part in BACKBONES else len(BACKBONES)


def _unwrapped(state: Any) -> Mapping[str, Tensor]:
    """Return the state dict in what a file holds."""
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
    what = f"a {type(state).__name__}"
    if isinstance(state, Mapping):
        what = f"the entries {first(map(repr, state))}" if state else "no entries"
    raise CheckpointError(
        f"expected a checkpoint with its .sha256 beside it, or names and their tensors, found {what}; save the weights "
        f"alone: {_SAVE}"
    )


def _is_state_dict(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(each, Tensor) for each in value.values())


def _without_inserted(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for name, tensor in state.items():
        for inserted in _INSERTED:
            name = name.replace(inserted, "")
        found[name] = tensor
    return found


def _archive_problem(path: Path) -> str | None:
    """Return what is wrong with a zip archive, which is what ``torch.save`` writes."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return f"truncated: the end of the archive is missing ({path.stat().st_size:,} bytes are there); fetch it again"
    if any(name.endswith("/constants.pkl") for name in names):
        return "no state that is safe to load (a TorchScript program); save the state_dict() of its model"
    if not any(name.endswith("/data.pkl") for name in names):
        return f"a zip archive without tensors; it holds {first(names)}"
    return None


def _is_safetensors(path: Path) -> bool:
    """Return whether a file is a safetensors file by its name, or by the JSON that follows its first 8 bytes."""
    with open(path, "rb") as file:
        return path.suffix == ".safetensors" or file.read(9)[8:] == b"{"


def _text(start: bytes) -> str | None:
    """Return the first bytes of a text file as text; None for any other file."""
    try:
        text = start.decode("ascii")
    except UnicodeDecodeError:
        return None
    return " ".join(text.split()) if all(each.isprintable() or each.isspace() for each in text) else None
