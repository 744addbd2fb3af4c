"""The examples in the docstrings, in the README and on the API page run as they stand, and the API page is whole."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
import torch
from ranks import README, readme_examples
from torch import nn

import ssl_losses

PACKAGE = Path(__file__).parents[2] / "packages" / "ssl-losses"
API = PACKAGE / "API.rst"


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(ssl_losses.__path__)])
def test_docstring_examples(name):
    assert doctest.testmod(importlib.import_module(f"ssl_losses.{name}")).failed == 0


@pytest.mark.filterwarnings("ignore")  # what Lightning recommends for long runs
@pytest.mark.parametrize("number", range(len(readme_examples())))
def test_readme_examples(number):
    code = readme_examples()[number]
    if "init_process_group" not in code:  # that one is run by test_distributed
        torch.manual_seed(0)
        exec(code, {"__name__": "readme"})


def test_table_of_the_readme_has_every_loss():
    text = README.read_text()
    for name in ssl_losses.LOSSES:
        assert f"``{name}``" in text


def test_api_page_examples():
    assert doctest.testfile(str(API), module_relative=False).failed == 0


def written(function):
    """Return a signature as the API page has it: names and defaults, without types."""
    parts = []
    for parameter in inspect.signature(function).parameters.values():
        name = "*" * (parameter.kind is parameter.VAR_POSITIONAL) + parameter.name
        if parameter.default is not parameter.empty:
            default = parameter.default
            name += f"={default:.6g}" if isinstance(default, float) else f"={default!r}"
        parts.append(name)
    return f"({', '.join(parts)})".replace("(self, ", "(")


@pytest.mark.parametrize("name", ssl_losses.LOSSES)
def test_api_page_has_the_signatures(name):
    function, module = getattr(ssl_losses, name), ssl_losses.LOSSES[name]
    options = "()" if module.__init__ is nn.Module.__init__ else written(module)
    entry = f"``{name}{written(function)}``\n    ``{module.__name__}{options}``,\n    called as ``{written(module.forward)}``"
    assert entry in API.read_text()


def test_api_page_has_every_public_name():
    text = API.read_text()
    assert [name for name in ssl_losses.__all__ if not re.search(rf"\b{name}\b", text)] == []


def test_top_level_has_one_page_for_each_loss():
    shared = {"__init__", "checks", "distributed", "grad_cache", "precision", "registry"}
    pages = {path.stem for path in (PACKAGE / "src" / "ssl_losses").glob("*.py")} - shared
    assert pages == {loss.__module__.rpartition(".")[2] for loss in ssl_losses.LOSSES.values()}
