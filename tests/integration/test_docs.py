"""The documentation: its code is executed, and its generated pages are complete.

test_readme.py executes its commands. ``.ci/run`` builds the pages (``hatch run docs``); there a warning of Sphinx is an error.
"""

import dataclasses
import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import docutils.core
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))
import api_pages  # noqa: E402
import dataclass_keys  # noqa: E402
import evaluation_tables  # noqa: E402
import formulas  # noqa: E402
import generate  # noqa: E402
import raw_markup  # noqa: E402

from code_blocks import code_blocks  # noqa: E402
from ssl_core.config.dense import DenseEvaluation  # noqa: E402
from ssl_core.config.fine_tuning import FineTuning  # noqa: E402
from ssl_core.config.landmarks import Landmarks  # noqa: E402
from ssl_core.config.robustness import Corruptions, Shifts  # noqa: E402
from ssl_core.config.schema import HardwareConfig, LogConfig, ModelConfig, OptimConfig  # noqa: E402
from ssl_core.config.transfer import Transfer  # noqa: E402
from ssl_core.config.zero_shot import ZeroShot  # noqa: E402
from ssl_core.methods import METHODS  # noqa: E402
from ssl_data import DataConfig, ViewSpec  # noqa: E402
from ssl_eval import Features, Protocol, Reliability, evaluate_features  # noqa: E402
from ssl_eval.metrics.registry import metric_of  # noqa: E402
from ssl_launch.commands.evaluate import EvaluationConfig  # noqa: E402

PAGES = sorted(ROOT.glob("docs/*.rst"))
DOCUMENTS = [*PAGES, *ROOT.glob("*.rst"), *ROOT.glob("docs/tutorials/*.md"), *ROOT.glob("packages/**/*.rst")]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_python_blocks_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for block in code_blocks(path.read_text()):
        exec(block, {"__name__": "page"})


@pytest.mark.parametrize(
    "kind",
    [
        ModelConfig,
        DataConfig,
        OptimConfig,
        HardwareConfig,
        LogConfig,
        Protocol,
        FineTuning,
        Corruptions,
        Shifts,
        Transfer,
        DenseEvaluation,
        ZeroShot,
        Landmarks,
        EvaluationConfig,
    ],
)
def test_every_key_has_its_comment(kind):
    found = dataclass_keys.comments(kind)
    assert list(found) == [field.name for field in dataclasses.fields(kind)]
    assert all(len(comment.split()) > 1 for comment in found.values()), found
    assert not [comment for comment in found.values() if re.search(r"(?<!`)`(?!`)", comment)]  # shown as a backtick


def test_comment_over_several_lines_belongs_to_one_key():
    assert dataclass_keys.comments(LogConfig)["every_steps"].endswith("the last step of each epoch has a line too")
    assert dataclass_keys.comments(ModelConfig)["init_from"].startswith("initial weights of the backbone")
    assert dataclass_keys.comments(ModelConfig)["backbone_options"] == "passed to the backbone, e.g. {width: 32}"


def test_every_method_has_a_page_with_keys_recipe_and_source(tmp_path):
    generate.generate(tmp_path)
    for name in METHODS:
        text = (tmp_path / "methods" / f"{name}.rst").read_text()
        assert "   :language: yaml" in text or name == "baseline", name
        assert "packages/ssl-core/src/ssl_core/methods/" in text, name
    assert "``model.temperature``\n   " in (tmp_path / "methods" / "simclr.rst").read_text()
    assert "Measured with a small backbone" in (tmp_path / "methods" / "simclr.rst").read_text()


def test_links_of_a_readme_become_links_to_pages():
    text = "`Results <../../runs/bench/RESULTS.rst>`_, `a file <src/a.py>`_, `a site <https://a.org>`_, `below <#a>`__."
    expected = ":doc:`Results </generated/results>`, ``a file``, `a site <https://a.org>`_, `below <#a>`__."
    assert generate._with_literal_links(text) == expected


@pytest.mark.parametrize("name", evaluation_tables.PROTOCOLS)
def test_protocol_table_has_the_composed_values(name):
    """Oracle: Hydra, which composes the protocol of ``stable-ssl eval eval=NAME``."""
    with initialize_config_dir(str(ROOT / "runs/configs"), version_base="1.3"):
        composed = OmegaConf.to_container(compose("evaluation", [f"eval={name}"]).eval)
    assert evaluation_tables.protocol(name) == composed


def test_metric_table_has_every_metric_of_an_evaluation():
    labels = torch.arange(160) % 4
    encoded = torch.randn(160, 8, generator=torch.Generator().manual_seed(0)) + torch.eye(4, 8)[labels]
    parts = encoded[:80], labels[:80], encoded[80:], labels[80:]
    data = Features(*parts, views=encoded[:80].view(40, 2, 8), ood={"other": encoded[:60] + 5})
    everything = Protocol(
        sgd=True, ridge=True, class_means=True, retrieval=[1], clustering=True, few=[5], map_samples=0
    )
    written = {metric_of(name).name for name in evaluate_features(data, everything).metrics}
    dense = {"mean_iou", "delta1", "rmse", "abs_rel"}  # of tokens and masks: no features
    corrupted = {"corruption_error", "corruption_mce", "corruption_relative_mce"}  # of corrupted images
    files = {"zero_shot", "map", "mean_precision"}  # of text features, or of a folder of landmarks
    assert written == set(evaluation_tables.COMPUTED_BY) - {"auroc", "mce"} - dense - corrupted - files


@pytest.mark.parametrize("name", generate.PACKAGES)
def test_every_public_name_has_a_page_in_a_table(name, tmp_path):
    package = name.replace("-", "_")
    pages = dict(api_pages.api_pages((package,)))
    public = importlib.import_module(package).__all__
    assert public
    for each in public:
        data = f".. py:data:: {package}.{each}\n" in pages[f"api/{package}"]
        page = pages.get(f"api/{package}/{package}.{each}", "")
        assert data or (f"   ~{package}.{each}\n" in pages[f"api/{package}"] and f":: {package}.{each}\n" in page)


def documented_names(section, docstring):
    """Return the names in a numpydoc section, without stars."""
    text = re.search(
        rf"^{section}\n-+\n(.*?)(?=^\S[^\n]*\n-{{3,}}\n|^[.]{{2}} |\Z)", docstring, re.MULTILINE | re.DOTALL
    )
    heads = re.findall(r"^(\S[^:\n]*?)(?: : .*)?$", text[1], re.MULTILINE) if text else []
    return [name.strip(" *") for head in heads for name in head.split(",")]


@pytest.mark.parametrize("name", generate.PACKAGES)
def test_documented_parameters_are_in_the_signature(name):
    package = importlib.import_module(name.replace("-", "_"))
    public = [getattr(package, each) for each in package.__all__]
    found = {each: documented_names("Parameters", inspect.getdoc(each) or "") for each in public if callable(each)}
    assert any(found.values())
    for each, names in found.items():
        assert not names or sorted(names) == sorted(inspect.signature(each).parameters), each


def test_options_are_described_by_a_noun():
    """A description such as ``Of the draws.`` is no sentence of its own: ``Random seed of the draws.``"""
    fragment = re.compile(r"^( +)[\w*][\w*, ]* : .+\n\1    (Of|Likewise|Those of|That of)\b.*", re.MULTILINE)
    found = [
        (path.name, match[0].strip())
        for path in ROOT.glob("packages/*/src/**/*.py")
        for match in fragment.finditer(path.read_text())
    ]
    assert not found


def test_dataclass_without_attributes_has_a_list_of_fields():
    fields = dataclass_keys.undocumented_fields(ViewSpec)
    assert "``solarize``\n   probability of inverting the pixels above one half. Default: ``0.0``." in fields
    assert not dataclass_keys.undocumented_fields(Reliability)  # its docstring has the attributes


def test_markup_in_the_text_of_a_page_is_found():
    page = docutils.core.publish_doctree(r"""A ``literal``, **bold**, :math:`a` and \*\*stars\*\* or \`a tick.

>>> "`"
""")
    assert raw_markup.raw_markup(page) == [" and **stars** or `a tick."]
    page = docutils.core.publish_doctree("1. A list.\n\n..\n\n    K. Default: one more than the largest.")
    assert raw_markup.raw_markup(page) == ["Default: one more than the largest."]


def test_formula_of_several_lines_is_aligned():
    assert formulas.aligned(r"a &= b \\ c &= d") == r"\begin{align*}a &= b \\ c &= d\end{align*}"
    cases = r"x = \begin{cases} 1 & a \\ 2 & b \end{cases}"
    assert formulas.aligned(cases) == cases


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_heading_follows_an_empty_line(path):
    """Otherwise its underline, or a marker of a merge, is text in the middle of a paragraph."""
    lines = ["", *path.read_text().splitlines()]
    underlines = [n for n, line in enumerate(lines) if re.fullmatch(r"={3,}|-{3,}|~{3,}|<{7} .*|>{7} .*", line)]
    wrong = [lines[n - 1] for n in underlines if n > 1 and lines[n - 1] and lines[n - 2]]
    assert path.suffix == ".md" or not wrong


def test_relative_links_of_documents_exist():
    found = 0
    for path in DOCUMENTS:
        text = re.sub(r"``.*?``", "", path.read_text(), flags=re.DOTALL)
        for target in re.findall(
            r"<([\w./-]+)>`__?|\.\. (?:image|literalinclude|include):: (\S+)|\]\(([\w./-]+)\)", text
        ):
            file = next(filter(None, target))
            if file.startswith(("generated/", "/generated/")) or (path.parent.name == "docs" and "." not in file):
                continue  # a page; Sphinx looks it up
            place = ROOT / "docs" / file[1:] if file.startswith("/") else path.parent / file
            assert place.exists(), f"{path}: {file}"
            found += 1
    assert found > 30


def test_addresses_are_well_formed():
    """No address is opened: the form is checked, and that of arXiv and DOI exactly."""
    addresses = {
        match
        for path in [*DOCUMENTS, *ROOT.glob("packages/*/src/**/*.py"), *ROOT.glob("runs/**/*.yaml")]
        for match in re.findall(r"https?://[^\s<>\"'`{}|\\]+", path.read_text())
    }
    assert len(addresses) > 50
    for address in addresses:
        parts = urlsplit(address.rstrip(").,;:"))
        assert re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+|localhost(:\d+)?|127\.0\.0\.1(:\d+)?", parts.netloc), address
        if parts.netloc == "arxiv.org":
            assert re.fullmatch(r"/abs/(\d{4}\.\d{4,5}|[a-z-]+/\d{7})(v\d+)?", parts.path), address
        if parts.netloc == "doi.org":
            assert re.fullmatch(r"/10\.\d{4,9}/\S+", parts.path), address


def test_leaderboard_of_the_results_equals_its_file():
    bench = ROOT / "runs" / "bench"
    command = [sys.executable, str(bench / "leaderboard.py"), "print"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    table = printed.split("\n\n", 1)[1].strip()
    assert len(table.splitlines()) > 4 + len(json.loads((bench / "leaderboard.json").read_text())["rows"])
    assert table in (bench / "RESULTS.rst").read_text()
