"""The names of timm's models, read from its source: to import timm takes torch, and seconds."""

import importlib.util
import re
from functools import cache
from pathlib import Path


def timm_names() -> list[str]:
    """Return what ``timm.list_models()`` would; nothing where timm is not installed."""
    return sorted(re.findall(r"^@register_model\s+def (\w+)", _source(), flags=re.MULTILINE))


def is_timm(name: str) -> bool:
    """Say whether timm has a model of this name. What follows a dot names weights: ``resnet18.tv_in1k``.

    A name that is only quoted there is an older one of a model, which timm still takes.
    """
    architecture = name.partition(".")[0]
    return architecture in timm_names() or bool(architecture and f"'{architecture}':" in _source())


def _source() -> str:
    spec = importlib.util.find_spec("timm")
    return "" if spec is None or spec.origin is None else _read(Path(spec.origin).with_name("models"))


@cache
def _read(folder: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py")))
