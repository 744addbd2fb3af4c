"""Keys of dataclasses for the documentation: comment, default and allowed values, from their source."""

import ast
import dataclasses
import inspect
import io
import re
import tokenize
from typing import Any


def comments(kind: type) -> dict[str, str]:
    """Return key -> comment of a dataclass: at the end of its lines, or on the lines between it and the key before."""
    source = inspect.getsource(kind)
    notes = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and "fmt:" not in token.string
    }
    [definition] = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    names = {field.name for field in dataclasses.fields(kind)}
    keys = [each for each in definition.body if isinstance(each, ast.AnnAssign) and each.target.id in names]  # type: ignore
    found: dict[str, list[int]] = {}
    last = definition.lineno
    for key in keys:
        name, own = key.target.id, [n for n in range(key.lineno, key.end_lineno + 1) if n in notes]  # type: ignore
        between = [n for n in range(last + 1, key.lineno) if n in notes]
        if own and between and found:  # the end of the comment of the key before
            found[next(reversed(found))] += between
            between = []
        found[name] = between + own
        last = key.end_lineno
    following = [n for n in notes if n > last]
    for n in following:
        if n == last + 1:
            found[next(reversed(found))].append(n)
            last = n
    return {name: " ".join(notes[n] for n in sorted(lines)) for name, lines in found.items()}


def _all_comments(kind: type) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__[:-1]):
        if dataclasses.is_dataclass(each):
            found |= comments(each)
    return found


def _default(field: dataclasses.Field) -> str:
    """Return the default value as code; that of another dataclass by its name."""
    if field.default is not dataclasses.MISSING:
        return repr(field.default)
    if field.name == "root":  # $SSL_DATA_ROOT of this machine
        return ""
    if field.default_factory is dataclasses.MISSING:
        return ""
    default = field.default_factory()
    return f"{type(default).__name__}()" if dataclasses.is_dataclass(default) else repr(default)


def _allowed(metadata: Any) -> str:
    if "choices" in metadata:
        return "one of " + ", ".join(map(str, metadata["choices"]))
    words = {"low": "at least", "above": "above", "high": "at most", "below": "below"}
    return ", ".join(f"{word} {metadata[bound]:g}" for bound, word in words.items() if bound in metadata)


def undocumented_fields(kind: Any) -> str:
    """Return the fields of a dataclass from their comments; empty for any other object, or if its docstring has them."""
    documented = re.search(r"^(Attributes|Parameters)\n-", inspect.getdoc(kind) or "", re.MULTILINE)
    if documented or not inspect.isclass(kind) or not dataclasses.is_dataclass(kind):
        return ""
    return f".. rubric:: Fields\n\n{keys_of(kind)}"


def keys_of(kind: type, group: str = "", without: type | None = None) -> str:
    """Return a definition list of the keys of a dataclass: comment, default and allowed values."""
    skipped = {field.name for field in dataclasses.fields(without)} if without else set()
    lines, notes = [], _all_comments(kind)
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name in skipped:
            continue
        allowed = _allowed(field.metadata)
        default = f"Default: ``{_default(field)}``." if _default(field) else ""
        limits = f"{allowed[:1].upper()}{allowed[1:]}." if allowed else ""
        comment = re.sub(r"([*|\\]|(?<!`)`(?!`)|_(?=\W|$))", r"\\\1", notes.get(field.name, ""))
        sentence = comment if comment.endswith(".") or not comment else f"{comment}."
        name = f"{group}.{field.name}" if group else field.name
        text = " ".join(filter(None, (sentence, default, limits))) or f"``{field.type}``."
        lines += [f"``{name}``", f"   {text}", ""]
    return "\n".join(lines) + "\n"
