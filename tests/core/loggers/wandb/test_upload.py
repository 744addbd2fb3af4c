"""What the upload reads of a run folder while the run writes it."""

import json

import pytest

from ssl_core.loggers.wandb.upload import Rows
from ssl_core.run.folder import RunFolder


@pytest.fixture
def rows(tmp_path):
    return Rows(RunFolder(tmp_path))


def line(step, **values):
    return (json.dumps({"step": step, **values}) + "\n").encode()


def test_last_line_is_read_once_the_next_one_begins(rows):
    metrics = rows.folder.metrics
    assert list(rows.read(finished=False)) == []  # no file yet
    metrics.write_bytes(line(1))
    assert list(rows.read(finished=False)) == []
    metrics.write_bytes(line(1, a=1) + line(2)[:5])  # the first has grown, the second is being written
    assert list(rows.read(finished=False)) == [(1, {"a": 1})]
    metrics.write_bytes(line(1, a=1) + line(2) + line(3))
    assert list(rows.read(finished=False)) == [(2, {})]
    assert list(rows.read(finished=False)) == []
    assert list(rows.read(finished=True)) == [(3, {})]
    assert rows.steps == {1, 2, 3}


def test_torn_line_of_a_killed_run_is_skipped(rows):
    rows.folder.metrics.write_bytes(line(1) + line(2)[:-1])
    assert list(rows.read(finished=True)) == [(1, {})]


def test_images_come_before_the_next_line(rows):
    paths = {}
    for name, step in (("views", 1), ("eval/views", 3), ("views", 5)):
        paths[name, step] = rows.folder.images / name / f"step_{step:08d}.png"
        paths[name, step].parent.mkdir(parents=True, exist_ok=True)
        paths[name, step].touch()
    rows.folder.metrics.write_bytes(line(2) + line(4) + line(6))
    assert list(rows.read(finished=False)) == [
        (1, {"views": paths["views", 1]}),
        (2, {}),
        (3, {"eval/views": paths["eval/views", 3]}),
        (4, {}),
    ]
    assert list(rows.read(finished=True)) == [(5, {"views": paths["views", 5]}), (6, {})]
