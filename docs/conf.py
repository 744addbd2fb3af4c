"""Configuration of Sphinx. ``hatch run docs`` builds docs/_build/html without network; a warning is an error."""

import importlib
import pydoc
import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from dataclass_keys import undocumented_fields
from formulas import formula, formula_block
from generate import generate
from raw_markup import raw_markup
from sphinx.ext.napoleon import NumpyDocstring
from sphinx.util import logging

generate(Path(__file__).parent / "generated")

project = "stable-ssl"
author = "stable-ssl contributors"
copyright = "2026, stable-ssl contributors"
release = version = version_of("ssl-core")

extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "myst_nb"]
exclude_patterns = ["_build", "generated/tables", "tutorials/outputs", "tutorials/compared"]

# The tutorials are executed by a real kernel, in an empty folder; a cell that fails is an error
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_timeout = 900  # seconds of a cell; on a busy machine the comparison of methods takes minutes
nb_output_stderr = "remove"  # warnings of torch about a machine
html_theme = "furo"
html_math_renderer = "mathml"
html_title = "stable-ssl"
html_static_path = ["_static"]
html_show_sourcelink = False
html_css_files = ["custom.css"]

autosummary_generate = (
    False  # generate() has written the pages of the tables; a page that has not changed is not read again
)
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings have types and shapes
autoclass_content = "class"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_param = False  # otherwise the description of "k, seed : int" is repeated for each name
napoleon_custom_sections = [("Attributes", "params_style")]  # otherwise "weight, bias : Tensor" becomes one odd name

nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!ssl_).*")]  # what other projects document


def link_to_public_name(app, env, node, contnode):
    """Resolve a reference to a module's own name (ssl_losses.msn.msn) by the public one (ssl_losses.msn).

    Names that are on no page stay without a link if they exist; one that does not exist is a warning.
    """
    target = node.get("reftarget", "")
    package, _, rest = target.partition(".")
    if node.get("refdomain") != "py" or not package.startswith("ssl_") or not rest:
        return None
    name = target.rpartition(".")[2]
    if name in importlib.import_module(package).__all__:
        domain, kind = env.get_domain("py"), node["reftype"]
        found = domain.resolve_xref(env, node["refdoc"], app.builder, kind, f"{package}.{name}", node, contnode)
        if found is not None:
            return found
    return contnode if pydoc.locate(target) is not None else None


def warn_of_raw_markup(app, page, name):
    """Warn of markup that would be shown as text; with ``-W`` it is an error."""
    for text in raw_markup(page):
        logging.getLogger(__name__).warning("markup in the text: %s", text, location=name)


def text_of_property(self):
    """Read the docstring of a property as text. Napoleon takes the words before the first colon for its type."""
    return "", NumpyDocstring(self._consume_to_end(), self._config).lines()


NumpyDocstring._consume_inline_attribute = text_of_property


def hide_inherited_signature(app, what, name, obj, options, signature, annotation):
    """Show ``KoLeoLoss()``: a module without an ``__init__`` has the ``(*args, **kwargs)`` of ``nn.Module``."""
    return ("()", annotation) if signature == "(*args, **kwargs)" and what == "class" else None


def add_fields(app, what, name, obj, options, lines):
    """Add the comments of the fields to the docstring of a dataclass that does not describe them."""
    if fields := undocumented_fields(obj):
        lines += ["", *fields.splitlines()]


def skip_tuple_fields(app, what, name, obj, skip, options):
    """Leave out the fields of a NamedTuple ("Alias for field number 0"): the docstring of the class describes them."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app):
    app.add_html_math_renderer("mathml", inline_renderers=(formula, None), block_renderers=(formula_block, None))
    app.connect("missing-reference", link_to_public_name)
    app.connect("autodoc-skip-member", skip_tuple_fields)
    app.connect("autodoc-process-signature", hide_inherited_signature)
    app.connect("autodoc-process-docstring", add_fields, priority=600)  # after napoleon
    app.connect("doctree-resolved", warn_of_raw_markup)
