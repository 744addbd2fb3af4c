"""The documentation: its code is executed, and its generated pages are complete.

test_readme.py executes its commands. ``.ci/run`` builds the pages (``hatch run docs``); there a warning of Sphinx is an error.
"""

import dataclasses
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))
import generate  # noqa: E402

from code_blocks import code_blocks  # noqa: E402
from ssl_core.config.schema import HardwareConfig, LogConfig, ModelConfig, OptimConfig  # noqa: E402
from ssl_core.methods import METHODS  # noqa: E402
from ssl_data import DataConfig  # noqa: E402

PAGES = sorted(ROOT.glob("docs/*.rst"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_python_blocks_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for block in code_blocks(path.read_text()):
        exec(block, {"__name__": "page"})


@pytest.mark.parametrize("kind", [ModelConfig, DataConfig, OptimConfig, HardwareConfig, LogConfig])
def test_every_key_has_its_comment(kind):
    found = generate.comments(kind)
    assert list(found) == [field.name for field in dataclasses.fields(kind)]
    assert all(len(comment.split()) > 1 for comment in found.values()), found


def test_comment_over_several_lines_belongs_to_one_key():
    assert generate.comments(LogConfig)["every_steps"].endswith("the last step of each epoch has a line too")
    assert generate.comments(ModelConfig)["init_from"].startswith("initial weights of the backbone")
    assert generate.comments(ModelConfig)["backbone_options"] == "passed to the backbone, e.g. {width: 32}"


def test_every_method_has_a_page_with_keys_recipe_and_source(tmp_path):
    generate.generate(tmp_path)
    for name in METHODS:
        text = (tmp_path / "methods" / f"{name}.rst").read_text()
        assert "   :language: yaml" in text or name == "baseline", name
        assert "packages/ssl-core/src/ssl_core/methods/" in text, name
    assert "``model.temperature``\n   " in (tmp_path / "methods" / "simclr.rst").read_text()
    assert "Measured with a small backbone" in (tmp_path / "methods" / "simclr.rst").read_text()


def test_links_of_a_readme_become_links_to_pages():
    text = "See `the results <../../runs/bench/RESULTS.rst>`_, `a file <src/a.py>`_ and `a site <https://a.org>`_."
    expected = "See :doc:`the results </generated/results>`, ``a file`` and `a site <https://a.org>`_."
    assert generate._with_literal_links(text) == expected
