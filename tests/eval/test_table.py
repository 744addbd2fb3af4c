"""Tables: the same numbers in the terminal, in Markdown, as CSV and as JSON."""

import csv
import io
import json
import math

import pytest

from ssl_eval import Table


@pytest.fixture
def table():
    return Table(
        title="digits",
        columns=["", "kNN", "10 labels", "lr"],
        rows=[
            ["trained", 1.0, {"mean": 0.948, "std": 0.018, "n": 5}, "0.5"],
            ["raw | pixels", 0.0512, {"mean": 0.0912, "std": 0.1049, "n": 3}, None],
            ["one seed", math.nan, {"mean": 0.5, "std": math.nan, "n": 1}, 3],
        ],
        notes=["Top-1 accuracy.", "n draws."],
    )


def test_text_is_aligned(table):
    assert table.to_text().splitlines() == [
        "digits",
        "",
        "                kNN  10 labels     lr",
        "────────────  ─────  ───────────  ───",
        "trained       100.0  94.8 ± 1.8   0.5",
        "raw | pixels    5.1   9.1 ± 10.5    –",
        "one seed          –  50.0           3",
        "",
        "Top-1 accuracy.",
        "",
        "n draws.",
    ]


def test_markdown_keeps_its_columns(table):
    lines = table.to_markdown().splitlines()
    assert lines[0] == "**digits**"
    assert lines[3] == "| :--- | ---: | ---: | ---: |"
    assert lines[5] == "| raw \\| pixels | 5.1 | 9.1 ± 10.5 | – |"
    assert all(line.replace("\\|", "").count("|") == 5 for line in lines[2:7])
    assert lines[-1] == "n draws."


def test_csv_keeps_every_digit_and_the_spread(table):
    heading, *rows = csv.reader(io.StringIO(table.to_csv()))
    assert heading == ["", "kNN", "10 labels", "10 labels std", "10 labels n", "lr"]
    assert rows[1] == ["raw | pixels", "0.0512", "0.0912", "0.1049", "3", ""]
    assert rows[2] == ["one seed", "", "0.5", "", "1", "3"]


def test_json_comes_back_as_it_went(table):
    values = json.loads(table.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert values == table.to_dict()
    again = Table.from_dict(values)
    assert again.to_text() == table.to_text()
    assert again.to_dict() == table.to_dict()
    assert json.loads(Table("empty", ["a"], []).to_json())["rows"] == []


def test_long_notes_are_wrapped_in_the_terminal_only():
    table = Table("t", ["a"], [["b"]], ["word " * 60])
    assert max(map(len, table.to_text().splitlines())) <= 100
    assert "word " * 60 in table.to_markdown()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["a"], "row 0 of table 't' must have a value for each of the 2 columns, got 1"),
        (["a", 37.2], "a fraction in 0..1, got 37.2"),
        (["a", {"mean": 0.5}], "needs mean, std and n"),
        (["a", [0.5]], "got list"),
    ],
)
def test_table_refuses_cells_that_it_cannot_show(row, message):
    with pytest.raises(ValueError, match=message):
        Table("t", ["", "x"], [row])


def test_incomplete_dict_is_refused():
    with pytest.raises(ValueError, match="got no columns, rows"):
        Table.from_dict({"title": "t"})
