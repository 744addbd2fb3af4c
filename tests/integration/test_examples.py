"""The scripts of runs/examples: each one is short, and runs."""

import json
import math
import re
from pathlib import Path

import pytest

import forked

FOLDER = Path(__file__).parents[2] / "runs" / "examples"
SCRIPTS = sorted(FOLDER.glob("*.py"))
RUNS = ("own_method", "own_data", "own_metric", "own_optimizer_groups")  # by ssl_launch
SMALL = [
    "optim.epochs=2", "optim.max_steps=2", "optim.batch_size=32", "optim.warmup_epochs=0", "log.report=false", "log.folder=out",
    "hardware.num_threads=1", "data.num_workers=0", "log.every_steps=1",
]  # fmt: skip
pytestmark = pytest.mark.slow


def run(name, *arguments, folder):
    result = forked.run([str(FOLDER / f"{name}.py"), *arguments], folder, OMP_NUM_THREADS="1")
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def lines_of_run(folder):
    [path] = folder.glob("out/*/metrics.jsonl")
    assert json.loads((path.parent / "summary.json").read_text())["status"] == "finished"
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script_has_at_most_60_lines(path):
    assert len(path.read_text().splitlines()) <= 60


def test_every_script_is_run():
    tested = {*RUNS, "plain_loop", "lightning_loop", "foreign_checkpoint"}
    assert {path.stem for path in SCRIPTS} == tested


@pytest.mark.parametrize("name", RUNS)
def test_script_of_a_run_finishes(name, tmp_path):
    run(name, *SMALL, folder=tmp_path)
    lines = lines_of_run(tmp_path)
    assert any(math.isfinite(line.get("train/loss", math.nan)) for line in lines)
    if name == "own_metric":
        assert 0 < lines[-1]["affine_digits/top3"] <= 1


def test_metric_of_the_script_is_monitored(tmp_path):
    run(
        "own_metric",
        *SMALL,
        "optim.monitor=affine_digits/top3",
        "optim.patience=1",
        "log.eval_every=1",
        folder=tmp_path,
    )
    assert "affine_digits/top3" in lines_of_run(tmp_path)[-1]


def test_plain_loop_lowers_the_loss(tmp_path):
    losses = [float(value) for value in re.findall(r"loss (\S+)", run("plain_loop", folder=tmp_path))]
    assert len(losses) == 5
    assert losses[-1] < losses[0]


def test_lightning_trains(tmp_path):
    assert math.isfinite(float(run("lightning_loop", folder=tmp_path).rsplit("loss ", 1)[1]))


def test_foreign_checkpoint_is_evaluated(tmp_path):
    printed = run("foreign_checkpoint", folder=tmp_path)
    accuracies = dict(re.findall(r"^(\S+)\s+(0\.\d+|1\.000)$", printed, re.MULTILINE))
    assert float(accuracies["knn_20"]) > 0.5, printed
