"""Code blocks of reStructuredText."""

import re
import textwrap


def code_blocks(text: str, language: str = "python") -> list[str]:
    """Return the ``code-block`` directives of a language, without their indentation."""
    found = re.findall(rf"\.\. code-block:: {language}\n\n((?:   .*\n|\n)+)", text)
    return [textwrap.dedent(block) for block in found]
