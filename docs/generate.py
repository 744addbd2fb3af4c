"""Pages of the documentation that are generated from the code: methods, configuration, API, packages and changelogs."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from api_pages import api_pages
from dataclass_keys import keys_of
from evaluation_tables import evaluation_tables

from ssl_core.config.schema import HardwareConfig, LogConfig, ModelConfig, OptimConfig
from ssl_core.methods import METHODS, method_class
from ssl_data import DataConfig

ROOT = Path(__file__).parents[1]
PACKAGES = ("ssl-losses", "ssl-data", "ssl-eval", "ssl-core", "ssl-launch")


def generate(folder: Path) -> None:
    """Write all pages into a folder; those that have not changed keep their time, so that Sphinx reads only the others."""
    modules = tuple(name.replace("-", "_") for name in PACKAGES)
    tables, api = evaluation_tables(), api_pages(modules)
    pages = dict([*_methods(), _configuration(), *tables, *_packages(), *api, _changelog(), _results()])
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
    table = "\n.. list-table::\n   :widths: 20 80\n\n"
    for name in names:
        summary = (inspect.getdoc(method_class(name)) or "").splitlines()[0]
        table += f"   * - :doc:`{name}`\n     - {summary}\n"
    toctree = "\n.. toctree::\n   :maxdepth: 1\n   :hidden:\n\n" + "".join(f"   {name}\n" for name in names)
    yield "methods/index", _with_literal_links(head) + "\n" + table + toctree


def _measured() -> dict[str, str]:
    """Return a sentence for each method with a row in the tables of RESULTS.rst."""
    date, short = _result_rows("Every method, ")
    _, leaderboard = _result_rows("Leaderboard at an equal budget")
    found = {
        name: f"Leaderboard, CIFAR-10, 10 minutes of two cores, {row[3]} seed{'s' * (row[3] != '1')}: kNN {row[1]} %, linear "
        f"probe {row[2]} %. :doc:`/generated/results` has all rows and the settings.\n\n"
        for name, row in leaderboard.items()
    }
    for name, row in short.items():
        found[name] = found.get(name, "") + (
            f"Measured with a small backbone, {row[5]} s of one core on CIFAR-10 ({date}): kNN {row[1]} % ({row[2]} "
            f"standard errors from the untrained encoder), linear probe {row[3]} % ({row[4]}). :doc:`/generated/results` "
            "has the settings.\n\n"
        )
    return found


def _result_rows(heading: str) -> tuple[str, dict[str, list[str]]]:
    """Return the date of a section of RESULTS.rst, and the cells of the rows that begin with a method."""
    text = (ROOT / "runs/bench/RESULTS.rst").read_text()
    text = text[text.index(heading) :]
    date = re.search(r"\d{4}-\d{2}-\d{2}", text)[0]  # type: ignore[index]
    rows = [re.split(r"\s{2,}", line) for line in text[: text.index("What falls short")].splitlines()]
    return date, {name: row for row in rows if (name := row[0].removesuffix(" *")) in METHODS and len(row) > 5}


def _packages() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        yield f"packages/{name}", _with_literal_links((ROOT / "packages" / name / "README.rst").read_text())
    yield "contributing", _with_literal_links((ROOT / "CONTRIBUTING.rst").read_text())
    yield "cluster", _with_literal_links((ROOT / "packages/ssl-launch/CLUSTER.rst").read_text())
    yield "losses", _with_literal_links((ROOT / "packages/ssl-losses/API.rst").read_text())


def _with_literal_links(text: str) -> str:
    """Replace links to files of the repository by links to pages, or by their paths."""
    pages = {"CLUSTER.rst": "/generated/cluster", "API.rst": "/generated/losses", "RESULTS.rst": "/generated/results",
             "methods.rst": "/generated/methods/index"}  # fmt: skip

    def replaced(match: re.Match) -> str:
        label, target = " ".join(match[1].split()), match[2]
        if re.match(r"https?:|#", target):
            return match[0]
        file = target.rsplit("/", 1)[-1]
        package = re.search(r"(ssl-\w+)/README.rst$", target)
        page = f"/generated/packages/{package[1]}" if package else pages.get(file)
        return f":doc:`{label} <{page}>`" if page else f"``{label}``"

    return re.sub(r"`([^`<]+)\s<([^>`]+)>`__?", replaced, text)


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
