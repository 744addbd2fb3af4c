"""A table of accuracies, shown in a terminal or a notebook, as Markdown, LaTeX, CSV or JSON."""

import csv
import html
import io
import json
import math
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ssl_eval.report.latex import escape

NOTHING = "–"  # a cell without a value
NOTE_WIDTH = 100  # characters of a line of notes in the terminal, unless the table is wider
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?")


@dataclass
class Table:
    """A table of accuracies: rows of a label and values, printed as text, Markdown, LaTeX, CSV or JSON.

    Parameters
    ----------
    title : str
        Title, one line.
    columns : sequence of str
        The headings; the first is that of the labels and may be empty.
    rows : sequence of sequence
        ``[label, value, ...]``, as long as ``columns``. A ``float`` is a fraction in 0..1 and shown as percent with one
        decimal; ``{"mean": ..., "std": ..., "n": ...}`` are fractions and shown as ``mean ± std``, without the deviation
        where n is below 2. Text and integers are not changed, None and NaN are a dash.
    notes : sequence of str
        Sentences that belong under the table: the protocol, what n counts.
    best : sequence of tuple of int
        ``(row, column)`` of the cells to set in bold; with a star in the terminal.

    Raises
    ------
    ValueError
        If a row has another length than ``columns``, or a value of another type.

    Examples
    --------
    >>> table = Table("digits", ["", "kNN", "probe"], [["SimCLR", 0.9512, {"mean": 0.948, "std": 0.018, "n": 5}]])
    >>> print(table.to_text())
    digits
    <BLANKLINE>
             kNN  probe
    ──────  ────  ──────────
    SimCLR  95.1  94.8 ± 1.8
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    notes: Sequence[str] = field(default_factory=list)
    best: Sequence[tuple[int, int]] = ()

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"row {number} of table {self.title!r} must have a value for each of the {len(self.columns)} "
                    f"columns, got {len(row)}: {list(row)!r}"
                )
            for value in row:
                shown(value)

    def to_markdown(self) -> str:
        """Return GitHub's Markdown: the title in bold, the table, the notes."""
        header, *rows = self._marked(_markdown, "**{}**")
        alignment = [":---", *["---:"] * (len(header) - 1)]
        lines = [f"| {' | '.join(row)} |" for row in (header, alignment, *rows)]
        notes = (f"\n{_markdown(note)}" for note in self.notes)
        return "\n".join([f"**{_markdown(self.title)}**", "", *lines, *notes]) + "\n"

    def to_latex(self) -> str:
        """Return a float with the table, ``booktabs`` lines and title and notes as its caption; it needs no other package."""
        header, *rows = self._marked(escape, r"\textbf{{{}}}")
        columns = "".join("r" if self.is_numeric(column) else "l" for column in range(len(self.columns)))
        head, *lines = (rf"    {' & '.join(row)} \\" for row in (header, *rows))
        caption = escape(". ".join([self.title, " ".join(self.notes)]).rstrip(" ."))
        above = [r"\begin{table}", r"  \centering", rf"  \caption{{{caption}.}}", rf"  \begin{{tabular}}{{{columns}}}"]
        below = [r"    \bottomrule", r"  \end{tabular}", r"\end{table}", ""]
        return "\n".join([*above, r"    \toprule", head, r"    \midrule", *lines, *below])

    def is_numeric(self, column: int) -> bool:
        """Return whether all cells of a column are numbers or nothing, and at least one is a number."""
        cells = [shown(row[column]) for row in self.rows]
        return any(map(_is_number, cells)) and all(_is_number(cell) or cell == NOTHING for cell in cells)

    def to_text(self) -> str:
        """Return the table aligned for a terminal."""
        columns = [_aligned(column) for column in zip(*self._cells())]
        for number in {column for _, column in self.best}:
            heading, *cells = columns[number]
            stars = ("*" if (row, number) in self.best else " " for row in range(len(cells)))
            columns[number] = [heading, *(cell + star for cell, star in zip(cells, stars))]
        widths = [max(map(len, column)) for column in columns]
        header, *rows = ("  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in zip(*columns))
        table = [header, "  ".join("─" * width for width in widths), *rows]
        width = max(NOTE_WIDTH, sum(widths) + 2 * len(widths) - 2)
        # Paths stay whole, so that they can be copied.
        lines = (textwrap.wrap(note, width, break_long_words=False, break_on_hyphens=False) for note in self.notes)
        notes = [line for note in lines for line in ["", *note]]
        return "\n".join([self.title, "", *table, *notes])

    def _repr_html_(self) -> str:
        """Return the table as HTML, for notebooks."""
        header, *rows = self._marked(html.escape, "<strong>{}</strong>")
        head = "".join(f"<th>{cell}</th>" for cell in header)
        body = "\n".join(f"<tr><th>{row[0]}</th>{''.join(f'<td>{cell}</td>' for cell in row[1:])}</tr>" for row in rows)
        notes = "".join(f"<p><small>{html.escape(note)}</small></p>" for note in self.notes)
        return (
            f"<table>\n<caption>{html.escape(self.title)}</caption>\n<thead><tr>{head}</tr></thead>\n"
            f"<tbody>\n{body}\n</tbody>\n</table>\n{notes}"
        )

    def to_csv(self) -> str:
        """Return comma-separated values for further computing: fractions not in percent, deviation and n in columns."""
        spread = [any(isinstance(row[column], Mapping) for row in self.rows) for column in range(len(self.columns))]
        lines = [[part for name, s in zip(self.columns, spread) for part in _csv_names(name, s)]]
        for row in self.rows:
            lines.append([part for value, s in zip(row, spread) for part in _csv_values(value, s)])
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(lines)
        return text.getvalue()

    def to_dict(self) -> dict[str, Any]:
        """Return what ``table.json`` holds: plain dicts, lists, strings and numbers; None for NaN."""
        values = {
            "title": self.title,
            "columns": list(self.columns),
            "rows": [[_plain(value) for value in row] for row in self.rows],
            "notes": list(self.notes),
        }
        return values | ({"best": [list(cell) for cell in self.best]} if self.best else {})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Table":
        """Return the table that :meth:`to_dict` made; raises ``ValueError`` where a part is missing."""
        missing = [name for name in ("title", "columns", "rows") if name not in values]
        if missing:
            raise ValueError(f"a table needs title, columns and rows, got no {', '.join(missing)}")
        title, columns, rows, notes = values["title"], values["columns"], values["rows"], values.get("notes", [])
        if not isinstance(title, str) or not _are_texts(columns) or not _are_texts(notes):
            raise ValueError("the title, the columns and the notes of a table must be text")
        if not isinstance(rows, list) or not all(isinstance(row, list) and row for row in rows):
            raise ValueError("the rows of a table must be lists of cells")
        try:
            best = [(row, column) for row, column in values.get("best", []) if rows[row][column] is not None]
        except (TypeError, ValueError, IndexError) as error:
            raise ValueError("the best cells of a table must be pairs of a row and a column") from error
        return cls(title, columns, rows, notes, best)

    def to_json(self) -> str:
        """Return :meth:`to_dict` as JSON, one row a line."""
        values = self.to_dict()
        rows = ",\n".join("    " + json.dumps(row, ensure_ascii=False) for row in values.pop("rows"))
        head = json.dumps(values, ensure_ascii=False, indent=2)[:-2]
        return f'{head},\n  "rows": [\n{rows}\n  ]\n}}\n' if rows else f'{head},\n  "rows": []\n}}\n'

    def _cells(self) -> list[list[str]]:
        return [list(self.columns), *([shown(value) for value in row] for row in self.rows)]

    def _marked(self, escape: Callable[[str], str], best: str) -> list[list[str]]:
        """Return heading and rows, escaped, with the best cells in a format."""
        header, *rows = ([escape(cell) for cell in row] for row in self._cells())
        for row, column in self.best:
            rows[row][column] = best.format(rows[row][column])
        return [header, *rows]


def shown(value: Any) -> str:
    """Return a cell as text: fractions as percent, ``mean ± std``, a dash for nothing."""
    if value is None:
        return NOTHING
    if isinstance(value, Mapping):
        mean, std, n = (value.get(key) for key in ("mean", "std", "n"))
        if not (isinstance(mean, float | int | str) and isinstance(std, float | int | None) and isinstance(n, int)):
            raise ValueError(f"a cell with a spread needs mean, std and n, got {dict(value)!r}")
        return shown(mean) if std is None or math.isnan(std) or n < 2 else f"{shown(mean)} ± {shown(float(std))}"
    if isinstance(value, float):
        if math.isnan(value):
            return NOTHING
        if not -1e-6 <= value <= 1 + 1e-6:
            raise ValueError(f"a number in a table is a fraction in 0..1, got {value}; give anything else as text")
        return f"{100 * value:.1f}"
    if isinstance(value, str | int):
        return str(value)
    raise ValueError(f"a cell is text, a number, None or a dict of mean, std and n, got {type(value).__name__}")


def mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the sample deviation of two values or more; NaN for both if one of them is not finite."""
    if not all(map(math.isfinite, values)):
        return math.nan, math.nan
    mean = math.fsum(value / len(values) for value in values)
    return mean, math.hypot(*(value - mean for value in values)) / math.sqrt(len(values) - 1)


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _aligned(column: Sequence[str]) -> list[str]:
    """Return a heading and its cells padded on the left, so that numbers and deviations are aligned."""
    heading, *cells = column
    numbers = [cell.split(" ± ")[0] for cell in cells if _is_number(cell)]
    if not numbers or any(not _is_number(cell) and cell != NOTHING for cell in cells):
        return list(column)
    width = max(map(len, numbers))
    cells = [cell.rjust(len(cell) + width - len(cell.split(" ± ")[0])) for cell in cells]
    whole = max(map(len, cells))
    if whole < len(heading):
        return [heading, *(cell.ljust(whole).rjust(len(heading)) for cell in cells)]
    return [heading.rjust(whole) if whole == width else heading, *cells]


def _is_number(cell: str) -> bool:
    return all(_NUMBER.fullmatch(part) for part in cell.split(" ± "))


def _markdown(text: str) -> str:
    """Return text escaped for Markdown: a run may have any name."""
    return re.sub(r"([\\`*_<>\[\]|&~])", r"\\\1", re.sub(r"\s*\n\s*", " ", text))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, float):
        return None if math.isnan(value) else float(value)
    return value


def _csv_names(name: str, spread: bool) -> list[str]:
    return [name, f"{name} std", f"{name} n"] if spread else [name]


def _csv_values(value: Any, spread: bool) -> list[Any]:
    if isinstance(value, Mapping):
        parts = [_plain(value[key]) if key in value else None for key in ("mean", "std", "n")]
    else:
        parts = [_plain(value), None, None] if spread else [_plain(value)]
    return ["" if part is None else part for part in parts]
