r"""Escaping of text for LaTeX, so that any name of a run compiles with pdflatex."""

import re
import unicodedata

_WORDS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    '"': "''", "`": r"\textasciigrave{}", "'": r"\textquotesingle{}",
    "[": "{[}", "]": "{]}", "*": "{*}",  # after the end of a row a bracket would be an option of \\, and a star as well
    "–": r"\textendash{}", "—": r"\textemdash{}", "…": r"\ldots{}", "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$",
    "≤": r"$\leq$", "≥": r"$\geq$", "→": r"$\to$", "∞": r"$\infty$", "µ": r"$\mu$", "°": r"$^\circ$", "\u00a0": "~",
    "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "œ": r"\oe{}", "Œ": r"\OE{}", "ø": r"\o{}", "Ø": r"\O{}", "ł": r"\l{}",
    "Ł": r"\L{}", "ı": r"\i{}",
}  # fmt: skip
_ACCENTS = dict(
    zip("\u0300\u0301\u0302\u0303\u0308\u030a\u030c\u0327\u0306\u0304\u030b\u0307", "`'^~\"rvcu=H.")
)  # combining -> \
# Greek letters in settings; there is no command for omicron and for the capitals that look Latin.
_GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
)


def escape(text: str) -> str:
    r"""Return ``text`` escaped for LaTeX.

    Accents become commands, Greek letters mathematics; a character that pdflatex may have no glyph for, which would stop the
    compilation, is printed by its number, ``[U+65E5]``. Line breaks become spaces.

    Examples
    --------
    >>> print(escape("a_b & 50 % of {x}"))
    a\_b \& 50 \% of \{x\}
    >>> print(escape("τ=0.1 ± 0, 日"))
    $\tau$=0.1 $\pm$ 0, {[}U+65E5{]}
    """
    return "".join(map(_escaped, " ".join(text.split()))).replace("--", "-{}-")


def _escaped(character: str) -> str:
    if character in _WORDS:
        return _WORDS[character]
    if character.isascii() and character.isprintable():
        return character
    letter, *accents = list(unicodedata.normalize("NFD", character))
    if letter.isascii() and len(accents) == 1 and accents[0] in _ACCENTS:
        return rf"\{_ACCENTS[accents[0]]}{{{letter}}}"
    name = unicodedata.name(character, "")
    greek = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (\w+)", name)
    if greek:
        word = greek[2].lower().replace("lamda", "lambda")
        word = word if greek[1] == "SMALL" else word.capitalize()
        if word in _GREEK.split(" "):
            return f"$\\{word}$"
    return f"{{[}}U+{ord(character):04X}{{]}}"
