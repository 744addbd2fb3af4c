"""The report as one HTML file with sortable tables and figures, which needs no network."""

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from ssl_eval.report.table import NOTHING, Table, shown
from ssl_eval.runs.run_record import STATUSES, RunRecord

WIDE = 14  # columns, above which a table is printed smaller
# Nothing is fetched, and only the script of this file runs, for any name of a run.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'"


@dataclass
class Figure:
    """A drawn figure: the name of its file, its caption, its PNG, and its data set (empty: of the whole report)."""

    file: str
    caption: str
    png: bytes
    dataset: str = ""


def page(
    records: Sequence[RunRecord], tables: Sequence[Table], runs: Table, figures: Sequence[Figure], problem: str | None
) -> str:
    """Return the HTML.

    Parameters
    ----------
    records : sequence of RunRecord
        All runs, whose states are counted at the top.
    tables : sequence of Table
        The first is the summary, whose title is the page's.
    runs : Table
        One row for each run; folded where there are many.
    figures : sequence of Figure
        In their order.
    problem : str, optional
        Why a figure is missing.
    """
    title = tables[0].title
    counts = Counter(record.status for record in records)
    order = [*STATUSES, *sorted(set(counts) - set(STATUSES))]
    states = "".join(
        f'<li class="{_status_class(status)}"><b>{counts[status]}</b> {escape(status)}</li>'
        for status in order
        if counts[status]
    )
    missing = f'<p class="note">A figure is missing: {escape(problem)}</p>' if problem else ""
    opened = " open" if len(records) <= 12 else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(title)}</title>
<style>
{_asset("page.css")}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<ul class="states">{states}</ul>
</header>
<main>
<section aria-label="Tables">
{_table(tables[0])}{"".join(f"<h2>{escape(table.title)}</h2>{_table(table)}" for table in tables[1:])}
<details{opened}>
<summary>Every run ({len(records)})</summary>
{_table(runs)}
</details>
</section>
<section aria-label="Figures">
<h2>Figures</h2>
{missing}
{_figures(figures)}
</section>
</main>
<footer>Written by ssl-eval {escape(version("ssl-eval"))}. Tables sort by a click on a heading, or by Tab and Enter.</footer>
<script>
{_asset("page.js")}</script>
</body>
</html>
"""


def _asset(name: str) -> str:
    return files("ssl_eval.report").joinpath(name).read_text(encoding="utf-8")


def _heading(file: str) -> str:
    return file.rpartition(".")[0].replace("_", " ").capitalize()


def _figures(figures: Sequence[Figure]) -> str:
    """Return links to all figures, then the figures, those of each data set under its name."""
    datasets = sorted({figure.dataset for figure in figures}, key=lambda name: (name != "", name))
    links, parts = [], []
    for dataset in datasets:
        chosen = [(number, figure) for number, figure in enumerate(figures) if figure.dataset == dataset]
        linked = "".join(f'<li><a href="#figure-{n}">{escape(_heading(figure.file))}</a></li>' for n, figure in chosen)
        links.append(f'<ul class="links">{f"<li><b>{escape(dataset)}</b></li>" if dataset else ""}{linked}</ul>')
        drawn = "\n".join(_figure(number, figure) for number, figure in chosen)
        head = f"<h3>{escape(dataset)}</h3>\n" if dataset else ""
        parts.append(f'{head}<div class="figures">\n{drawn}\n</div>')
    return f'<nav aria-label="Figures">{"".join(links)}</nav>\n' + "\n".join(parts)


def _figure(number: int, figure: Figure) -> str:
    data = base64.b64encode(figure.png).decode()
    width = int.from_bytes(figure.png[16:20], "big") / 300 * 120  # drawn for paper, 300 an inch; a screen has more room
    return (
        f'<figure id="figure-{number}" style="--width: {width:.0f}px">'
        f'<img src="data:image/png;base64,{data}" alt="{escape(_heading(figure.file))}" width="{width:.0f}">'
        f"<figcaption>{escape(figure.caption)} <code>{escape(figure.file)}</code></figcaption></figure>"
    )


def _table(table: Table) -> str:
    numeric = [table.is_numeric(column) for column in range(len(table.columns))]
    status = {number for number, name in enumerate(table.columns) if name == "status"}
    heads = "".join(
        f'<th scope="col"{_class("number" if is_number else "")}>'
        f'<button type="button">{escape(name) or "&nbsp;"}<span aria-hidden="true"></span></button></th>'
        for name, is_number in zip(table.columns, numeric)
    )
    rows = []
    for row, cells in enumerate(table.rows):
        parts = []
        for column, value in enumerate(cells):
            text = escape(shown(value)).replace("± ", "±&nbsp;")  # a narrow column breaks before the deviation
            if (row, column) in table.best:
                text = f"<strong>{text}</strong>"
            if column in status:
                text = f'<span class="{_status_class(str(value))}">{text}</span>'
            attributes = _class("number" if numeric[column] else "long" if len(text) > 60 else "") + _sort_key(
                value, numeric[column]
            )
            parts.append(f'<th scope="row"{attributes}>{text}</th>' if column == 0 else f"<td{attributes}>{text}</td>")
        rows.append(f"<tr>{''.join(parts)}</tr>")
    notes = "".join(f"<p>{escape(note)}</p>" for note in table.notes)
    body = "\n".join(rows)
    wide = _class("wide" if len(table.columns) > WIDE else "")
    return (
        f'\n<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.title)}">'
        f"<table{wide}>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>\n"
        f'<div class="note">{notes}</div>\n'
    )


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _status_class(status: str) -> str:
    word = status.split(",")[0].split(" ")[0]
    return f"state {word if word in STATUSES else 'unknown'}"


def _sort_key(value: Any, numeric: bool) -> str:
    """Return the number that a column of numbers is sorted by: the mean, where there is a deviation."""
    if not numeric:
        return ""
    number = value["mean"] if isinstance(value, Mapping) else value
    text = shown(number).split(" ")[0]
    return "" if text == NOTHING else f' data-value="{number if isinstance(number, float) else escape(text)}"'
