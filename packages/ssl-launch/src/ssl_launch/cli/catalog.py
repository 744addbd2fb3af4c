"""``stable-ssl list``: names that a configuration or a program can use, with one line each."""

import inspect
import json
import re
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path

from ssl_core.methods import METHODS, method_class
from ssl_data.dataset_names import DATASETS

KINDS = ("methods", "backbones", "losses", "datasets", "recipes")


def print_catalog(kinds: Sequence[str], as_json: bool) -> None:
    """Print the names of some kinds."""
    found = {kind: catalog(kind) for kind in kinds}
    if as_json:
        print(json.dumps(found, indent=2))
        return
    columns = shutil.get_terminal_size().columns
    for kind, lines in found.items():
        print(f"{kind}:")
        width = max(map(len, lines))
        for name, line in lines.items():
            first = f"  {name:{width}}  "
            print(textwrap.fill(line, columns, initial_indent=first, subsequent_indent=" " * len(first)))


def catalog(kind: str) -> dict[str, str]:
    """Return name -> one line, of one of :data:`KINDS`."""
    if kind == "methods":
        return {name: _method_line(method_class(name)) for name in METHODS}
    if kind == "backbones":
        return _backbones()
    if kind == "losses":
        import ssl_losses  # imports torch

        return {name: _first_line(getattr(ssl_losses, name)) for name in ssl_losses.LOSSES}
    if kind == "datasets":
        return dict(DATASETS)
    return {path.stem: path.read_text().splitlines()[0].lstrip("# ") for path in recipe_files()}


def recipe_files() -> list[Path]:
    """Return the recipes of the working directory's ``configs/`` and of the package."""
    folders = Path(__file__).parents[1] / "configs", Path("configs")
    found = {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}
    return [path for name, path in found.items() if name != "evaluation"]  # the configuration of eval


def _backbones() -> dict[str, str]:
    from ssl_core.backbones import backbone_names, backbone_size  # imports torch

    lines = {}
    for name in backbone_names():
        features, parameters = backbone_size(name)
        lines[name] = f"{features} features, {parameters / 1e6:.1f} million parameters"
    return {**lines, "timm/NAME": "any model of timm, e.g. timm/convnext_tiny, if timm is installed"}


def _method_line(kind: type) -> str:
    """Return "Paper (Authors year): what the method does" from the docstrings of its module and class."""
    paper = re.match(r"(.+?) \(([^\d]+) (\d{4})", (inspect.getdoc(inspect.getmodule(kind)) or "").replace("\n", " "))
    if paper is None:
        return _first_line(kind)
    title, names, year = paper.groups()
    first, *others = re.split(r", | & ", names)
    authors = first if not others else f"{first} & {others[0]}" if len(others) == 1 else f"{first} et al."
    return f"{title} ({authors} {year}): {_first_line(kind)}"


def _first_line(described: object) -> str:
    return (described.__doc__ or "").strip().splitlines()[0]
