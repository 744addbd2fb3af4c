"""Formulas as MathML, which browsers draw by themselves: no script is loaded, here or from elsewhere."""

import re

from docutils import nodes
from latex2mathml.converter import convert


def formula(self, node):
    """Write a formula in a line of text."""
    self.body.append(convert(node.astext()))
    raise nodes.SkipNode


def formula_block(self, node):
    """Write a formula in lines of its own."""
    self.body.append(f'<div class="formula">{convert(aligned(node.astext()), display="block")}</div>')
    raise nodes.SkipNode


def aligned(latex: str) -> str:
    """Return the formula in an environment for several lines if it has ``&`` or ``\\\\`` outside of one."""
    outside = re.sub(r"\\begin\{(\w+)\}.*?\\end\{\1\}", "", latex, flags=re.DOTALL)
    return rf"\begin{{align*}}{latex}\end{{align*}}" if "&" in outside or r"\\" in outside else latex
