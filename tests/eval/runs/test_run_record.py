"""Run folders are read as documented; what is damaged is named."""

import json
import math
import os
import re

import pytest

from ssl_eval import RunRecord, find_runs
from ssl_eval.runs.live_run import LiveRun
from ssl_eval.watch import _cells


def test_record_reads_the_folder(make_run):
    values = {"title": "t", "columns": ["", "kNN"], "rows": [["trained", 0.9]]}
    record = RunRecord(make_run("one", seed=3, table=values))
    assert record.name == "one"
    assert record.status == "finished"
    assert record.epoch == 6
    assert record.config["optim"] == {"lr": 0.5, "epochs": 6}
    assert record.summary["seed"] == 3
    assert record.steps_per_epoch == 4
    assert record.metrics == pytest.approx(
        {
            "train/loss": 5 / 24,
            "train/lr": 0.1,
            "digits/accuracy": 0.9,
            "digits/knn": 0.88,
            "digits/probe_backbone": 0.9,
        }
    )
    steps, accuracies = record.series("digits/accuracy")
    assert steps == [8, 16, 24]
    assert accuracies == pytest.approx([0.3, 0.6, 0.9])
    assert record.series("digits/nothing") == ([], [])
    assert record.table.rows == [["trained", 0.9]]


def test_run_that_has_just_begun_is_a_run(make_run):
    folder = make_run("begun", status="running", done=0)
    (folder / "metrics.jsonl").unlink()
    (folder / "summary.json").unlink()
    record = RunRecord(folder)
    assert (record.status, record.epoch, record.metrics, record.table) == ("unknown", 0, {}, None)
    assert record.steps_per_epoch is None


def test_metrics_without_lines_are_those_of_the_summary(make_run):
    folder = make_run("one", metrics={"digits/knn": 0.5, "digits/old": 0.1})
    assert RunRecord(folder).metrics["digits/old"] == 0.1
    assert RunRecord(folder).metrics["digits/knn"] == 0.88  # the lines are the truth
    (folder / "metrics.jsonl").unlink()
    assert RunRecord(folder).metrics == {"digits/knn": 0.5, "digits/old": 0.1}


@pytest.mark.parametrize("status", ["running", "failed", "preempted"])
def test_torn_last_line_of_an_unfinished_run_is_left_out(make_run, status):
    folder = make_run("torn", status=status, done=3)
    whole = RunRecord(folder).lines
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"step": 13, "epoch": 3, "train/lo')
    assert RunRecord(folder).lines == whole


@pytest.mark.parametrize(
    ("number", "line", "message"),
    [
        (3, '{"step": 3, "epo', "line 3 is damaged"),
        (1, "[1, 2]", "line 1 is damaged: expected one JSON object, got list"),
        (2, '{"step": true, "epoch": 0}', "line 2 is damaged: expected integers 'step' and 'epoch'"),
        (2, '{"step": -1, "epoch": 0}', "line 2 is damaged: expected integers 'step' and 'epoch'"),
        (2, '{"step": 2, "epoch": 0, "train/loss": "low"}', "line 2 is damaged: 'train/loss' must be a number"),
        (2, '{"step": 2, "epoch": 0, "digits/knn": [0.5]}', "line 2 is damaged: 'digits/knn' must be a number"),
        (2, '{"step": 2, "epoch": 0, "digits/knn": 1' + 400 * "0" + "}", "line 2 is damaged: 'digits/knn' must be a n"),
        (2, '{"train/loss": 1.0}', "line 2 is damaged: expected integers 'step' and 'epoch'"),
        (24, "\0\0\0", "line 24 is damaged"),
    ],
)
def test_damaged_line_is_named_with_its_number(make_run, number, line, message):
    folder = make_run("damaged", status="running")
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    lines[number - 1] = line
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=re.escape(str(folder / "metrics.jsonl")) + ".*" + message):
        RunRecord(folder)


def test_torn_last_line_of_a_finished_run_is_damage(make_run):
    folder = make_run("torn")
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"step": 25, "ep')
    with pytest.raises(ValueError, match="line 25 is damaged"):
        RunRecord(folder)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("summary.json", "{", "summary.json' is damaged"),
        ("summary.json", "[]", "is damaged: expected one JSON object, got list"),
        ("config.yaml", "a: [", "config.yaml' is not valid YAML"),
        ("config.yaml", "- a", "must hold a mapping of keys to values, got list"),
        ("config.yaml", "!!python/object/apply:os.system ['true']", "config.yaml' is not valid YAML"),
        ("summary.json", "[" * 100_000, "is damaged: nested too deeply"),
        ("config.yaml", "a: &a [*a]\nb: 2001-99-99", "config.yaml' is not valid YAML"),
        ("table.json", '{"title": "t"}', "table.json': a table needs"),
        ("table.json", '{"title": [], "columns": ["a"], "rows": []}', "table.json': the title.* must be text"),
        (
            "table.json",
            '{"title": "", "columns": ["a"], "rows": [7]}',
            "table.json': the rows of a table must be lists",
        ),
        (
            "table.json",
            '{"title": "", "columns": ["a"], "rows": [["b"]], "best": [[5, 0]]}',
            "pairs of a row and a col",
        ),
        ("table.json", '{"title": "", "columns": ["a"], "rows": [[{"mean": [], "n": 2}]]}', "needs mean, std and n"),
    ],
)
def test_damaged_file_is_named(make_run, name, text, message):
    folder = make_run("damaged")
    (folder / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        _ = (record := RunRecord(folder)).config, record.table


WRONG_SUMMARIES = [
    {"status": ["finished"]},
    {"epoch": "three"},
    {"epoch": 1.5},
    {"step": -1},
    {"metrics": [0.5]},
    {"metrics": {"digits/knn": "high"}},
    {"metrics": {"digits/knn": 10**400}},
    {"wall_seconds": "90 s"},
    {"wall_seconds": math.nan},
    {"images_per_second": {}},
]


@pytest.mark.parametrize("wrong", WRONG_SUMMARIES, ids=str)
def test_wrong_type_in_summary_is_named(make_run, wrong):
    (key,) = wrong
    folder = make_run("wrong", **wrong)
    with pytest.raises(ValueError, match=f"'{folder}/summary.json': '{key}' must be "):
        RunRecord(folder)
    live = LiveRun(folder)  # what only watches takes the rest
    live.update()
    assert key not in live.summary
    assert (live.step, live.epoch, live.seconds_left) == (24, 6, None)
    assert _cells(live)["epoch"] == "6/6"


def test_null_in_a_summary_is_a_missing_value(make_run):
    names = ("status", "epoch", "step", "metrics", "wall_seconds", "images_per_second")
    record = RunRecord(make_run("null", **dict.fromkeys(names)))
    assert (record.status, record.epoch, record.metrics["digits/knn"]) == ("unknown", 6, 0.88)


@pytest.mark.parametrize(
    "wrong",
    [
        {"metrics": {"knn_20": True}},
        {"metrics": {"knn_20": {"mean": "high"}}},
        {"step": -1},
        {"per_class": {"names": 7}},
        {"per_class": {"names": ["a"], "accuracy": [[0.5]]}},
        {"confusion": "none"},
        {"reliability": {"count": 5}},
        {"spectrum": 3.5},
        {"spectrum": [10**400]},
        {"map": {"labels": 3, "pca": []}},
    ],
    ids=str,
)
def test_wrong_type_in_an_evaluation_is_named(make_run, wrong):
    record = RunRecord(make_run("wrong", evaluation={"metrics": {"knn_20": 0.5}} | wrong))
    with pytest.raises(ValueError, match=r"eval/standard\.json': "):
        record.check()


def test_folder_that_is_not_a_run_raises(tmp_path):
    with pytest.raises(ValueError, match="is not a run folder: it does not exist"):
        RunRecord(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"is not a run folder: it has no config\.yaml"):
        RunRecord(tmp_path)
    (tmp_path / "config.yaml").write_text("a: 1")
    with pytest.raises(ValueError, match=r"none of metrics\.jsonl, summary\.json, checkpoints"):
        RunRecord(tmp_path)


def test_runs_are_found_at_any_depth_and_once(make_run, tmp_path):
    runs = [make_run(name) for name in ("sweep/2", "sweep/10", "sweep/deep/a", "single")]
    hidden = tmp_path / "sweep" / "2" / ".hydra"
    hidden.mkdir()
    (hidden / "config.yaml").write_text("a: 1")
    (hidden / "metrics.jsonl").write_text("")
    os.symlink(tmp_path / "sweep", tmp_path / "sweep" / "latest")
    assert find_runs([tmp_path / "sweep", tmp_path, runs[3]]) == runs
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match=r"'.*empty' holds no run"):
        find_runs([tmp_path, empty])


def test_fine_tuning_runs_belong_to_their_evaluation(make_run):
    run = make_run("one")
    tuned = make_run("one/eval/fine_tuning/1_percent")
    assert find_runs([run.parent]) == [run]
    assert find_runs([run / "eval"]) == [tuned]
    other = make_run("eval/run")  # a folder of runs may have any name
    assert find_runs([run.parent]) == [other, run]


def test_steps_per_epoch_is_right_in_the_middle_of_an_epoch(make_run):
    folder = make_run("middle", status="running", done=2)
    with open(folder / "metrics.jsonl", "a") as file:
        file.write(json.dumps({"step": 11, "epoch": 2, "train/loss": 1.0}) + "\n")
    assert RunRecord(folder).steps_per_epoch == 4
