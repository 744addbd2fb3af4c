"""Completion for ``stable-ssl train``, ``views``, ``data`` and ``eval``: recipes, keys, values, runs. No torch is imported."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import BashComplete, add_completion_class

from ssl_core.config import GROUPS
from ssl_core.methods import METHODS, method_class
from ssl_data import view_names
from ssl_data.config import DataConfig
from ssl_launch.cli.catalog import recipe_files
from ssl_launch.run_path import run_paths

_OWN_KEYS = {"views": ("rows", "bands"), "data": ("samples",)}  # command -> its keys beyond those of a run


@add_completion_class
class KeyComplete(BashComplete):
    """Bash adds no space after ``key=``."""

    source_template = BashComplete.source_template.replace(
        "    return 0\n",
        "    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace\n    return 0\n",
    )


def complete_overrides(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return recipes and keys, or the values of a key, for ``stable-ssl train``, ``views`` and ``data``."""
    key, inside_bash = _key(ctx, incomplete)
    if key:
        prefix = "" if inside_bash else f"{key}="
        typed = incomplete if inside_bash else incomplete.partition("=")[2]
        return [f"{prefix}{value}" for value in _values(key.lstrip("+")) if value.startswith(typed)]
    plus = incomplete[: len(incomplete) - len(incomplete.lstrip("+"))]
    words = [path.stem for path in recipe_files()]
    words += [f"{plus}{key}=" for key in (*_keys(incomplete), "hydra/launcher", *_OWN_KEYS.get(str(ctx.info_name), ()))]
    return sorted(word for word in words if word.startswith(incomplete))


def complete_runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return runs and the keys of an evaluation, for ``stable-ssl eval``."""
    names = ("standard", "full", "tokens", "finetune", "segmentation", "depth", "zero_shot", "landmarks")
    protocols = [f"eval={name}" for name in names]
    keys = ["checkpoint=newest", "checkpoint=all", *protocols, "device=", "--watch"]
    return [*run_paths(incomplete), *(key for key in keys if key.startswith(incomplete))]


def _key(ctx: click.Context, incomplete: str) -> tuple[str, bool]:
    """Return the key whose value is typed, and whether bash gives the value alone: it takes words apart at ``=``."""
    if "=" in incomplete:
        return incomplete.partition("=")[0], False
    before = list(ctx.params.get("arguments") or ())
    if before[-1:] == ["="]:
        return before[-2], True
    is_key = bool(before) and not incomplete and before[-1].lstrip("+") in {*_keys(before[-1]), "hydra/launcher"}
    return (before[-1], True) if is_key else ("", False)


def _keys(word: str) -> dict[str, tuple[Any, Any]]:
    """Return ``group.key`` -> (annotation, metadata); those of our methods only for a word that begins with ``model.``."""
    groups: list[tuple[str, Any]] = [("data", DataConfig), *GROUPS.items()]
    if word.lstrip("+").startswith("model."):  # the keys of a method are in its module, which imports torch
        groups += [("model", method_class(name).config_class) for name in METHODS]
    return {
        f"{name}.{each.name}": (each.type, each.metadata) for name, kind in groups for each in dataclasses.fields(kind)
    }


def _values(key: str) -> Sequence[str]:
    """Return what a key may be, if that is a few words."""
    if key == "hydra/launcher":
        return ["submitit_slurm", "submitit_local"]
    if key == "model.name":
        return list(METHODS)
    if key == "model.backbone":
        from ssl_core.backbones import backbone_names  # imports torch

        return backbone_names()
    if key == "data.views":
        return view_names()
    annotation, metadata = _keys(key).get(key, (None, {}))
    return ["true", "false"] if annotation is bool else tuple(metadata.get("choices", ()))
