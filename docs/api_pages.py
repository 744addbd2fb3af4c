"""Pages of the API reference: for each package a page with tables of its public names, and a page for each name."""

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

# Public modules besides the names that ``import PACKAGE`` brings
MODULES = {
    "ssl_core": (
        "backbones.registry", "backbones.vit", "modules.heads", "modules.ema", "modules.masks.patch_masks",
        "modules.masks.multi_block", "modules.multi_crop", "modules.transformer.rotary", "evaluation.pictures.attention",
        "methods.pixel_reconstruction", "schedules", "optimizers.factory", "optimizers.param_groups",
        "optimizers.layer_decay", "checkpoint.export", "training.trained_run",
    ),
    "ssl_eval": ("metrics.registry",),
}  # fmt: skip
MAX_LETTERS = 24  # of a line of the navigation


def api_pages(packages: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of the pages of all packages."""
    for package in packages:
        module = importlib.import_module(package)
        public = {name: getattr(module, name) for name in sorted(module.__all__, key=str.lower)}
        documented = {name: value for name, value in public.items() if callable(value)}
        text = _title(package) + f"{inspect.getdoc(module)}\n\n"
        for folder, names in _by_folder(package, documented).items():
            text += _folder_title(package, folder) + _table(package, names, "~")
        if modules := MODULES.get(package):
            text += _title("Other modules", "-") + _table(package, modules)
        if data := [name for name in public if name not in documented]:
            text += _title("Data", "-") + "".join(_data(package, name, public[name]) for name in data)
        yield f"api/{package}", text
        for name, value in documented.items():
            directive = "autoclass" if inspect.isclass(value) else "autofunction"
            # ``function`` is the loss that a module calls: a class attribute, which autodoc shows as a method
            options = "   :members:\n   :exclude-members: function\n" if inspect.isclass(value) else ""
            yield f"api/{package}/{package}.{name}", _title(name) + f".. {directive}:: {package}.{name}\n{options}"
        for name in modules or ():
            page = _title(_short(name)) + f".. automodule:: {package}.{name}\n   :members:\n"
            yield f"api/{package}/{package}.{name}", page


def _title(text: str, line: str = "=") -> str:
    return f"{text}\n{line * len(text)}\n\n"


def _short(name: str) -> str:
    """Return the end of a module's name that fits into a line of the navigation."""
    short = ".".join(name.split(".")[-2:])
    return short if len(short) <= MAX_LETTERS else name.rsplit(".", 1)[-1]


def _by_folder(package: str, names: dict[str, Any]) -> dict[str, list[str]]:
    """Return names by the folder of the package that has their source; files beside the folders come first."""
    groups: dict[str, list[str]] = {}
    for name, value in names.items():
        parts = value.__module__.removeprefix(f"{package}.").split(".")
        groups.setdefault(parts[0] if len(parts) > 1 else "", []).append(name)
    return {folder: groups[folder] for folder in sorted(groups)}


def _folder_title(package: str, folder: str) -> str:
    if not folder:
        return _title("Functions and classes", "-")
    summary = (inspect.getdoc(importlib.import_module(f"{package}.{folder}")) or "").split("\n\n")[0]
    return _title(folder.capitalize(), "-") + f"{summary}\n\n"


def _table(package: str, names: Any, shortened: str = "") -> str:
    """Return a table of names and their first sentences; ``shortened="~"`` shows a name without its modules."""
    rows = "".join(f"   {shortened}{package}.{name}\n" for name in names)
    return f".. autosummary::\n   :toctree: {package}\n   :nosignatures:\n\n{rows}\n"


def _data(package: str, name: str, value: Any) -> str:
    if isinstance(value, dict):
        return f".. py:data:: {package}.{name}\n\n   Names: ``{'``, ``'.join(value)}``.\n\n"
    return f".. autodata:: {package}.{name}\n   :no-value:\n\n"
