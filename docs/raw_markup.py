"""Markup that a page would show as text: a role or a literal that was not closed, stars, and fields without a docstring."""

import re
from collections.abc import Iterator

from docutils import nodes

MARKUP = re.compile(r"`|\*\*[^*\s][^*]*\*\*|Alias for field number")
VERBATIM = (nodes.literal, nodes.literal_block, nodes.doctest_block, nodes.math, nodes.math_block, nodes.raw)


def raw_markup(page: nodes.Node) -> list[str]:
    """Return the texts of a page that contain markup, except in code and formulas, and lists that begin with a letter."""
    letters = [each for each in page.findall(nodes.enumerated_list) if each["enumtype"] != "arabic"]  # a sentence "K."
    texts = [text for text in page.findall(nodes.Text) if MARKUP.search(text.astext())]
    shown = [text for text in texts if not any(isinstance(parent, VERBATIM) for parent in _parents(text))]
    return [each.astext() for each in letters + shown]


def _parents(node: nodes.Node) -> Iterator[nodes.Node]:
    while node.parent is not None:
        node = node.parent
        yield node
