"""Tables: the same numbers in the terminal, in Markdown, as CSV and as JSON."""

import csv
import io
import json
import math
import re
import shutil
import subprocess

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


def test_paths_in_notes_are_never_broken():
    path = "/scratch/" + "long-folder-name/" * 12 + "summary.json"
    assert f"'{path}'." in Table("t", ["run"], [["a"]], notes=[f"Left out: '{path}'."]).to_text().split()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["a"], "row 0 of table 't' must have a value for each of the 2 columns, got 1"),
        (["a", 37.2], "a fraction in 0..1, got 37.2"),
        (["a", {"mean": 0.5}], "needs mean, std and n"),
        (["a", [0.5]], "got list"),
    ],
)
def test_table_with_invalid_cells_raises(row, message):
    with pytest.raises(ValueError, match=message):
        Table("t", ["", "x"], [row])


def test_incomplete_dict_raises():
    with pytest.raises(ValueError, match="got no columns, rows"):
        Table.from_dict({"title": "t"})


HOSTILE = "<script>alert(1)</script> a_b & 50 % *x* `y` [z] | #1 $2 {3} \\4 ~5 ^6 \"7\" é τ Ω 日本 – ± 'q' -- &lt;"


def test_markdown_prints_any_name_as_it_is():
    """Against CommonMark's rule: a backslash takes the meaning of any punctuation."""
    cell = Table("t", ["a"], [[HOSTILE + "\nsecond line"]]).to_markdown().splitlines()[4]
    assert cell.startswith("| ")
    inner = cell.removeprefix("| ").removesuffix(" |")
    assert not re.search(r"(?<!\\)[<>`*_|\[\]&~]", inner.replace("\\\\", ""))
    assert re.sub(r"\\([^a-z0-9\s])", r"\1", inner) == HOSTILE + " second line"


def test_latex_has_booktabs_lines_and_aligned_columns(table):
    table.best = [(0, 2)]
    assert table.to_latex().splitlines() == [
        r"\begin{table}",
        r"  \centering",
        r"  \caption{digits. Top-1 accuracy. n draws.}",
        r"  \begin{tabular}{lrrr}",
        r"    \toprule",
        r"     & kNN & 10 labels & lr \\",
        r"    \midrule",
        r"    trained & 100.0 & \textbf{94.8 $\pm$ 1.8} & 0.5 \\",
        r"    raw \textbar{} pixels & 5.1 & 9.1 $\pm$ 10.5 & \textendash{} \\",
        r"    one seed & \textendash{} & 50.0 & 3 \\",
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]


def test_latex_leaves_nothing_that_it_would_act_on():
    cell = next(line for line in Table("t", ["a"], [[HOSTILE]]).to_latex().splitlines() if "alert" in line)
    cell = cell.strip().removesuffix(r" \\")
    plain = re.sub(r"\\[a-zA-Z]+\{\}|\$\\\w+\$|\\[{}$&#_%]|\\'\{e\}|\{[][*]\}|-\{\}", "", cell)
    assert not re.search(r"[\\{}$&#_%~^\[\]*|<>]", plain)
    assert cell.isascii()


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tmp_path):
    every = "".join(map(chr, [*range(33, 127), *range(0xA1, 0x180), *range(0x391, 0x3CA)])) + "\x07 😀 日本"
    names = [every, HOSTILE, "[0.1, 0.2]", "*_seed", "- b"]
    table = Table(every, ["run", "b"], [[name, 0.5] for name in names], [HOSTILE], best=[(0, 1), (1, 0)])
    (tmp_path / "table.tex").write_text(table.to_latex(), encoding="utf-8")
    text = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{table}\end{document}"
    (tmp_path / "paper.tex").write_text(text)
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "paper.tex"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout[-2000:]
    assert "Missing character" not in (tmp_path / "paper.log").read_text(errors="replace")


def test_best_cells_are_marked_in_every_format(table):
    table.best = [(0, 2), (1, 1)]
    assert table.to_text().splitlines()[2:7] == [
        "                kNN   10 labels      lr",
        "────────────  ──────  ────────────  ───",
        "trained       100.0   94.8 ± 1.8*   0.5",
        "raw | pixels    5.1*   9.1 ± 10.5     –",
        "one seed          –   50.0            3",
    ]
    rows = table.to_markdown().splitlines()[4:7]
    assert "**94.8 ± 1.8**" in rows[0]
    assert "**5.1**" in rows[1]
    assert "**" not in rows[2]
    assert Table.from_dict(json.loads(table.to_json())).best == [(0, 2), (1, 1)]
