"""What the process beside the run reads of ``metrics.jsonl`` while it is written."""

import json

import pytest

from ssl_core.wandb_uploader import SettledLines


@pytest.fixture
def lines(tmp_path):
    return SettledLines(tmp_path / "metrics.jsonl")


def line(step, **values):
    return (json.dumps({"step": step, **values}) + "\n").encode()


def test_a_line_is_settled_when_another_stands_behind_it(lines):
    assert lines.read(all_of_them=False) == []  # no file yet
    lines.path.write_bytes(line(1))
    assert lines.read(all_of_them=False) == []
    lines.path.write_bytes(line(1, a=1) + line(2)[:5])  # the first has grown, the second is being written
    assert lines.read(all_of_them=False) == []
    lines.path.write_bytes(line(1, a=1) + line(2) + line(3))
    assert lines.read(all_of_them=False) == [{"step": 1, "a": 1}, {"step": 2}]
    assert lines.read(all_of_them=False) == []
    assert lines.read(all_of_them=True) == [{"step": 3}]
    assert lines.steps == 3


def test_the_torn_line_of_a_killed_run_is_left_out(lines):
    lines.path.write_bytes(line(1) + line(2)[:-1])
    assert lines.read(all_of_them=True) == [{"step": 1}]
