"""The examples in the docstrings and in the README run as they stand."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import ssl_losses

README = Path(__file__).parents[2] / "packages" / "ssl-losses" / "README.rst"


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(ssl_losses.__path__)])
def test_docstring_examples(name):
    assert doctest.testmod(importlib.import_module(f"ssl_losses.{name}")).failed == 0


def test_readme_examples():
    blocks = re.findall(r"\.\. code-block:: python\n\n((?:   .*\n|\n)+)", README.read_text())
    assert blocks
    for block in blocks:
        exec("\n".join(line[3:] for line in block.splitlines()), {})


def test_the_table_of_the_readme_has_every_loss():
    text = README.read_text()
    for name in ssl_losses.LOSSES:
        assert f"``{name}``" in text
