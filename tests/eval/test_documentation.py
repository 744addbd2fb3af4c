"""The examples in docstrings and in the README run, and say what they print."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import ssl_eval
from code_blocks import code_blocks

PACKAGE = Path(__file__).parents[2] / "packages" / "ssl-eval"
MODULES = sorted(module.name for module in pkgutil.walk_packages(ssl_eval.__path__, "ssl_eval."))


def test_docstring_examples():
    results = {name: doctest.testmod(importlib.import_module(name)) for name in MODULES}
    assert sum(result.attempted for result in results.values()) >= 10
    assert not [name for name, result in results.items() if result.failed]


@pytest.mark.parametrize("code", code_blocks((PACKAGE / "README.rst").read_text()))
def test_readme_example(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.rst", "exec"), {})


def test_readme_names_everything_public():
    text = (PACKAGE / "README.rst").read_text()
    assert [name for name in ssl_eval.__all__ if name not in text] == []
