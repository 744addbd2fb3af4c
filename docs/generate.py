"""Pages of the documentation that are generated from the code: methods, configuration, API, packages and changelogs."""

import ast
import dataclasses
import importlib
import inspect
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ssl_core.config.schema import HardwareConfig, LogConfig, ModelConfig, OptimConfig
from ssl_core.methods import METHODS, method_class
from ssl_data import DataConfig

ROOT = Path(__file__).parents[1]
PACKAGES = ("ssl-losses", "ssl-data", "ssl-eval", "ssl-core", "ssl-launch")
# Public modules besides the names that ``import PACKAGE`` brings
MODULES = {
    "ssl-core": (
        "backbones.registry", "backbones.vit", "modules.heads", "modules.ema", "modules.masks.patch_masks",
        "modules.masks.multi_block", "modules.multi_crop", "modules.transformer.rotary", "schedules", "optimizers.factory",
        "optimizers.param_groups", "optimizers.layer_decay", "checkpoint.export", "training.trained_run",
    ),
}  # fmt: skip


def generate(folder: Path) -> None:
    """Write all pages into a folder; those that have not changed keep their time, so that Sphinx reads only the others."""
    pages = dict([*_methods(), _configuration(), *_packages(), *_api(), _changelog(), _results()])
    for name, text in pages.items():
        path = folder / f"{name}.rst"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    for path in folder.rglob("*.rst"):
        if str(path.relative_to(folder).with_suffix("")) not in pages:
            path.unlink()


def _title(text: str, line: str = "=") -> str:
    return f"{text}\n{line * len(text)}\n\n"


# ---- keys of dataclasses, with their comments ----


def comments(kind: type) -> dict[str, str]:
    """Return key -> comment of a dataclass: at the end of its lines, or on the lines between it and the key before."""
    source = inspect.getsource(kind)
    notes = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and "fmt:" not in token.string
    }
    [definition] = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    names = {field.name for field in dataclasses.fields(kind)}
    keys = [each for each in definition.body if isinstance(each, ast.AnnAssign) and each.target.id in names]  # type: ignore
    found: dict[str, list[int]] = {}
    last = definition.lineno
    for key in keys:
        name, own = key.target.id, [n for n in range(key.lineno, key.end_lineno + 1) if n in notes]  # type: ignore
        between = [n for n in range(last + 1, key.lineno) if n in notes]
        if own and between and found:  # the end of the comment of the key before
            found[next(reversed(found))] += between
            between = []
        found[name] = between + own
        last = key.end_lineno
    following = [n for n in notes if n > last]
    for n in following:
        if n == last + 1:
            found[next(reversed(found))].append(n)
            last = n
    return {name: " ".join(notes[n] for n in sorted(lines)) for name, lines in found.items()}


def _all_comments(kind: type) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__[:-1]):
        if dataclasses.is_dataclass(each):
            found |= comments(each)
    return found


def _default(field: dataclasses.Field) -> str:
    if field.default is not dataclasses.MISSING:
        return repr(field.default)
    if field.name == "root":  # $SSL_DATA_ROOT of this machine
        return ""
    return repr(field.default_factory()) if field.default_factory is not dataclasses.MISSING else ""


def _allowed(metadata: Any) -> str:
    if "choices" in metadata:
        return "one of " + ", ".join(map(str, metadata["choices"]))
    words = {"low": "at least", "above": "above", "high": "at most", "below": "below"}
    return ", ".join(f"{word} {metadata[bound]:g}" for bound, word in words.items() if bound in metadata)


def keys_of(kind: type, group: str, without: type | None = None) -> str:
    """Return a definition list of the keys of a dataclass: comment, default and allowed values."""
    skipped = {field.name for field in dataclasses.fields(without)} if without else set()
    lines, notes = [], _all_comments(kind)
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name in skipped:
            continue
        allowed = _allowed(field.metadata)
        facts = [f"Default: ``{_default(field)}``." if _default(field) else "", allowed[:1].upper() + allowed[1:]]
        comment = re.sub(r"([*|`\\]|_(?=\W|$))", r"\\\1", notes.get(field.name, ""))
        lines += [f"``{group}.{field.name}``", f"   {comment}{'' if comment.endswith('.') else '.'} {facts[0]}"]
        lines[-1] += f" {facts[1]}." if facts[1] else ""
        lines.append("")
    return "\n".join(lines) + "\n"


# ---- pages ----


def _configuration() -> tuple[str, str]:
    text = _title("Configuration")
    text += (
        "Every key of a run, from the dataclasses that validate it. ``group.key=value`` on the command line, the same\n"
        "names in a recipe, and as arguments of the dataclasses in Python. The keys of a method are on\n"
        ":doc:`its page <methods/index>`.\n\n"
    )
    for group, kind in (
        ("model", ModelConfig), ("data", DataConfig), ("optim", OptimConfig), ("hardware", HardwareConfig), ("log", LogConfig),
    ):  # fmt: skip
        text += _title(f"``{group}``", "-") + f"{inspect.getdoc(kind).splitlines()[0]}\n\n" + keys_of(kind, group)  # type: ignore
    return "configuration", text


def _methods() -> Iterator[tuple[str, str]]:
    """Yield a page for each method: its section of methods.rst, keys, recipes and source."""
    text = (ROOT / "packages/ssl-core/docs/methods.rst").read_text()
    head, *sections = re.split(r"\n(?=\S[^\n]* \(``\w+``\)\n-{4,}\n)", text)
    recipes = ROOT / "runs/configs"
    measured = _measured()
    names = []
    for section in sections:
        title, _, body = section.split("\n", 2)
        name = re.search(r"``(\w+)``", title)[1]  # type: ignore[index]
        names.append(name)
        page = _title(title) + body.strip() + "\n\n" + measured.get(name, "")
        own = keys_of(method_class(name).config_class, "model", ModelConfig)  # type: ignore[arg-type]
        if own.strip():
            page += _title("Keys", "-") + own
        found = [
            path
            for path in sorted(recipes.glob("*.yaml"))
            if re.search(rf"^  name: {name}$", path.read_text(), re.MULTILINE)
        ]
        if found:
            page += _title("Recipes", "-")
        for path in found:
            page += f"``{path.stem}``:\n\n.. literalinclude:: /../runs/configs/{path.name}\n   :language: yaml\n\n"
        module = method_class(name).__module__.replace(".", "/")
        page += _title("Source", "-") + f".. literalinclude:: /../packages/ssl-core/src/{module}.py\n"
        yield f"methods/{name}", page
    assert set(names) >= set(METHODS) - {"supervised", "baseline"}, set(METHODS) - set(names)
    toctree = "\n.. toctree::\n   :maxdepth: 1\n\n" + "".join(f"   {name}\n" for name in names)
    yield "methods/index", _with_literal_links(head) + "\n" + toctree


def _measured() -> dict[str, str]:
    """Return a sentence for each method with a row in the table of RESULTS.rst."""
    text = (ROOT / "runs/bench/RESULTS.rst").read_text()
    text = text[text.index("Every method, ") :]
    date = re.search(r"\d{4}-\d{2}-\d{2}", text)[0]  # type: ignore[index]
    found = {}
    for line in text[: text.index("What falls short")].splitlines():
        row = re.split(r"\s{2,}", line)
        name = row[0].removesuffix(" *")
        if name in METHODS and len(row) > 5:
            found[name] = (
                f"Measured with a small backbone, {row[5]} s of one core on CIFAR-10 ({date}): kNN {row[1]} % ({row[2]} "
                f"standard errors from the untrained encoder), linear probe {row[3]} % ({row[4]}). :doc:`/generated/results` "
                "has the settings.\n\n"
            )
    return found


def _packages() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        yield f"packages/{name}", _with_literal_links((ROOT / "packages" / name / "README.rst").read_text())
    yield "cluster", _with_literal_links((ROOT / "packages/ssl-launch/CLUSTER.rst").read_text())
    yield "losses", _with_literal_links((ROOT / "packages/ssl-losses/API.rst").read_text())


def _with_literal_links(text: str) -> str:
    """Replace links to files of the repository by links to pages, or by their paths."""
    pages = {"CLUSTER.rst": "/generated/cluster", "API.rst": "/generated/losses", "RESULTS.rst": "/generated/results",
             "methods.rst": "/generated/methods/index"}  # fmt: skip

    def replaced(match: re.Match) -> str:
        label, target = " ".join(match[1].split()), match[2]
        if re.match(r"https?:", target):
            return match[0]
        file = target.rsplit("/", 1)[-1]
        package = re.search(r"(ssl-\w+)/README.rst$", target)
        page = f"/generated/packages/{package[1]}" if package else pages.get(file)
        return f":doc:`{label} <{page}>`" if page else f"``{label}``"

    return re.sub(r"`([^`<]+)\s<([^>`]+)>`__?", replaced, text)


def _api() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        package = name.replace("-", "_")
        module = importlib.import_module(package)
        text = _title(package)
        for public in sorted(module.__all__, key=str.lower):
            value = getattr(module, public)
            if inspect.isclass(value):
                text += f".. autoclass:: {package}.{public}\n   :members:\n\n"
            elif isinstance(value, dict):
                text += f".. py:data:: {package}.{public}\n\n   Names: ``{'``, ``'.join(value)}``.\n\n"
            elif callable(value):
                text += f".. autofunction:: {package}.{public}\n\n"
            else:
                text += f".. autodata:: {package}.{public}\n   :no-value:\n\n"
        for each in MODULES.get(name, ()):
            text += _title(f"{package}.{each}", "-") + f".. automodule:: {package}.{each}\n   :members:\n\n"
        yield f"api/{package}", text


def _changelog() -> tuple[str, str]:
    text = _title("Changelog")
    for path in (ROOT / "CHANGELOG.rst", *(ROOT / "packages" / name / "CHANGELOG.rst" for name in PACKAGES)):
        lines = path.read_text().splitlines()
        name = lines[0].removeprefix("Changelog of ")
        body = "\n".join(lines[2:]).replace("\n---", "\n~~~").replace("---", "~~~")
        text += _title(name, "-") + _with_literal_links(body).strip() + "\n\n"
    return "changelog", text


def _results() -> tuple[str, str]:
    text = re.sub(r"(\.\. image:: )(\S+)", r"\1/../runs/bench/\2", (ROOT / "runs/bench/RESULTS.rst").read_text())
    return "results", _with_literal_links(text).replace("Results\n=======", "Measurements\n============", 1)
