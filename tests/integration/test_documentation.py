"""Examples of docstrings and READMEs are executed."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import docutils.core
import pytest

import ssl_core
import ssl_data
import ssl_launch
from code_blocks import code_blocks

ROOT = Path(__file__).parents[2]
READMES = sorted([ROOT / "README.rst", *ROOT.glob("packages/*/*.rst")])
MODULES = [
    module.name
    for package in (ssl_core, ssl_data, ssl_launch)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    if not module.name.endswith(".configs")
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", ["ssl-core", "ssl-data", "ssl-launch"])
def test_readme_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "packages" / name / "README.rst").read_text()
    blocks = code_blocks(text)
    assert blocks
    for block in blocks:
        exec(block, {"__name__": "readme"})


@pytest.mark.parametrize("path", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_are_well_formed(path):
    """Oracle: docutils; a warning is an error."""
    settings = {"halt_level": 2, "report_level": 2, "syntax_highlight": "none"}
    docutils.core.publish_doctree(path.read_text(), source_path=str(path), settings_overrides=settings)
