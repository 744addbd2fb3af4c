"""``metrics.jsonl`` has one reader, for runs that have ended and for runs in progress."""

import pytest

from ssl_eval.runs.metrics_file import MetricsFile

FIRST, SECOND, THIRD = (f'{{"step": {step}, "epoch": 0, "train/loss": {step}.5}}\n' for step in (1, 2, 3))


def steps_of(read):
    cut, lines = read
    return cut, [line["step"] for line in lines]


def test_reader_continues_at_the_last_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path)
    path.write_text(FIRST + SECOND)
    assert steps_of(file.read()) == (False, [1, 2])
    path.write_text(FIRST + SECOND + THIRD)
    assert steps_of(file.read()) == (False, [2, 3])  # the last line may have grown
    path.write_text(FIRST)
    assert steps_of(file.read()) == (True, [1])
    assert steps_of(file.read()) == (False, [1])


@pytest.mark.parametrize(
    ("text", "tolerate", "steps"),
    [
        (FIRST + SECOND[:-1], "nothing", [1, 2]),  # whole, though without a newline
        (FIRST + SECOND[:-5], "torn", [1]),
        (FIRST + "\n\n" + SECOND, "nothing", [1, 2]),
        (FIRST + "{\n" + SECOND[:-5], "damaged", [1]),
    ],
)
def test_what_may_be_damaged(tmp_path, text, tolerate, steps):
    path = tmp_path / "metrics.jsonl"
    path.write_text(text)
    assert steps_of(MetricsFile(path).read(tolerate)) == (False, steps)


@pytest.mark.parametrize("tolerate", ["nothing", "torn"])
def test_damaged_line_is_named_by_its_number(tmp_path, tolerate):
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path)
    path.write_text(FIRST + SECOND)
    file.read()
    path.write_text(FIRST + SECOND + "[]\n" + THIRD)
    with pytest.raises(ValueError, match=r"metrics.jsonl', line 3 is damaged: expected one JSON object, got list"):
        file.read(tolerate)
