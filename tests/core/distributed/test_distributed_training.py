"""Runs on several ranks (gloo, one thread each, float64) beside the same run in one process, which is the oracle."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ssl_core import RunFolder
from ssl_core.evaluation.evaluate_checkpoint import evaluate_checkpoint
from ssl_eval import Protocol

RANKS = Path(__file__).parents[1] / "ranks.py"
pytestmark = pytest.mark.timeout(1500)  # all cases run before the first test: a minute, or several on a slow machine
SIZES = [2, 4]
SHARDED = [  # case, oracle, lines, ranks
    ("sharded", "accumulated", 6, 2), ("sharded", "accumulated", 6, 4), ("sharded, LARS", "LARS", 12, 2),
    ("sharded, grouped", "grouped", 12, 2), ("sharded, masked", "masked", 4, 2),
    ("sharded, dense", "dense", 4, 2),
]  # fmt: skip
COMPARING = ["simclr", "barlow_twins", "vicreg", "w_mse"]  # methods whose loss compares the samples of a batch


def start(folder: Path, *groups: tuple[int, list[str]], launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    """Go through the cases of each world size, see ``ranks.py``."""
    return subprocess.run(
        [sys.executable, *launcher, str(RANKS), str(folder), json.dumps(groups)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=1200,
    )  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The cases at 1, 2 and 4 ranks; each oracle at 1 rank, and what the number of ranks does not change at 2 only."""
    folder = tmp_path_factory.mktemp("ranks")
    whole, halves = ([f"{method}, {n} batches" for method in COMPARING] for n in (1, 2))
    compared = ["plain", "accumulated", "frozen", "grouped", "uneven", "reported"]
    resumed = ["resumed", "resharded"]
    ranks_only = ["layers", "again", "sharded", "unused", "died"]
    sharded = [f"sharded, {what}" for what in ("LARS", "grouped", "masked", "dense")]
    result = start(
        folder,
        (1, [*compared, "LARS", "masked", "dense", *whole, *halves, *resumed, "unused"]),
        (2, [*compared, *sharded, *halves, *resumed, *ranks_only]),
        (4, ["plain", "uneven", *resumed, *ranks_only]),
        (1, resumed),
    )
    assert result.returncode == 0, result.stderr[-6000:]
    return folder


def metrics(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]


def state(folder: Path) -> dict:
    return torch.load(max((folder / "run" / "checkpoints").glob("*.pt")), weights_only=True)


MEASURED = ("std_", "rank", "nesum", "uniformity", "lidar", "alignment")  # not counted


def assert_same_run(ours: Path, theirs: Path, lines: int) -> None:
    """Losses, norms and every tensor of the state to 1e-10, counted accuracies exactly."""
    assert len(metrics(ours)) == len(metrics(theirs)) == lines
    for mine, other in zip(metrics(ours), metrics(theirs)):
        assert mine.keys() == other.keys()
        for name in other.keys() - {"train/images_per_second"}:
            tolerance = {"abs": 0.0} if name.startswith("toy/") else {"rel": 1e-10}
            if name.startswith(tuple(f"toy/{measure}" for measure in MEASURED)):
                tolerance = {"rel": 1e-6}
            assert mine[name] == pytest.approx(other[name], **tolerance), name
    mine, other = state(ours), state(theirs)
    for part in ("model", "optimizer", "probes"):
        torch.testing.assert_close(mine[part], other[part], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("case", "lines", "ranks"),
    [("plain", 12, 2), ("plain", 12, 4), ("accumulated", 6, 2), ("frozen", 12, 2), ("grouped", 12, 2)],
)
def test_run_on_ranks_equals_one_process(runs, case, lines, ranks):
    assert_same_run(runs / f"{case}_{ranks}", runs / f"{case}_1", lines)


def test_resume_on_other_number_of_ranks_equals_one_run(runs):
    """Stopped after 3 of 12 steps at 1 rank, after 6 at 2, after 9 at 4 (by a signal to one of them), ended at 1."""
    assert_same_run(runs / "resumed", runs / "plain_1", 12)


def test_evaluation_of_ranks_equals_one_process(runs, toy_data):
    """The table at the end is computed by all ranks and written by one; an evaluation of the run is of one process."""
    parts = dict.fromkeys(("sgd", "ridge", "multilayer_linear_probe", "class_means", "clustering"), True)
    protocol = Protocol(name="all", knn=[5], few=[2], draws=2, retrieval=[1], map_samples=0, pictures=4, **parts)
    found, files = [], []
    for ranks in (1, 2):
        run = RunFolder(runs / f"reported_{ranks}" / "run")
        (path,) = evaluate_checkpoint(run, protocol, data=toy_data)
        found.append(json.loads(path.read_text()) | {"table": json.loads(run.table_json.read_text())["rows"]})
        files.append({str(each.relative_to(run.path)) for each in run.path.rglob("*") if "features" not in each.name})
    one, two = found
    assert two["metrics"].pop("linear_2_labels") == one["metrics"].pop("linear_2_labels")
    assert two["metrics"] == pytest.approx(one["metrics"], rel=1e-6, abs=1e-4)  # a probe is solved to 1e-4
    assert {"multilayer_linear_probe", "knn_5", "linear", "cluster_nmi"} <= one["metrics"].keys()
    for part in ("table", "neighbours", "pictures"):
        assert two[part] == one[part], part
    assert files[1] == files[0]
    assert "table.md" in files[1]


@pytest.mark.parametrize("ranks", [1, 2])
def test_early_stopping_and_freeze_on_ranks(runs, ranks):
    folder = runs / f"frozen_{ranks}"
    ended = json.loads((folder / "run" / "summary.json").read_text())
    assert (ended["status"], ended["epoch"]) == ("finished", 3)
    assert ended["stopped_early"].startswith("train/loss has not improved in 2 evaluations")
    assert state(folder)["model"]["backbone.1.num_batches_tracked"] == 8  # two views in four batches of the last epoch


@pytest.mark.parametrize("ranks", SIZES)
def test_resume_on_same_ranks_is_bit_identical(runs, ranks):
    """Sums of more than two ranks must not depend on how many steps a process has made."""
    ours, theirs = state(runs / f"again_{ranks}"), state(runs / f"plain_{ranks}")
    for part in ("progress", "model", "optimizer", "probes"):
        torch.testing.assert_close(ours[part], theirs[part], rtol=0.0, atol=0.0)


@pytest.mark.parametrize(("case", "oracle", "lines", "ranks"), SHARDED)
def test_sharded_run_equals_one_process(runs, case, oracle, lines, ranks):
    """Norms and clipping, a teacher, batch normalisation, probes, and the whole tensors of a checkpoint among it."""
    assert_same_run(runs / f"{case}_{ranks}", runs / f"{oracle}_1", lines)


def test_resume_sharded_and_unsharded_equals_uninterrupted_run(runs):
    """Stopped at 1 rank, sharded over 2, whole again on 4, ended at 1."""
    assert_same_run(runs / "resharded", runs / "plain_1", 12)


@pytest.mark.parametrize("ranks", SIZES)
def test_accuracy_is_exact_for_uneven_shares(runs, ranks):
    """33 test images, unlabelled training images that are all one rank's, a kNN bank and views of 20: all is the same."""
    assert_same_run(runs / f"uneven_{ranks}", runs / "uneven_1", 12)
    accuracy = metrics(runs / "uneven_1")[-1]["toy/knn"]
    assert accuracy * 33 == pytest.approx(round(accuracy * 33), abs=1e-9)  # of 33 images, no duplicates
    assert {"toy/lidar", "toy/alignment"} <= metrics(runs / "uneven_1")[-1].keys()


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("method", COMPARING)
def test_accumulated_loss_equals_one_large_batch(runs, method, ranks):
    """Oracle: one process with one large batch; here two batches of half the size make an optimizer step."""
    assert_same_run(runs / f"{method}, 2 batches_{ranks}", runs / f"{method}, 1 batches_1", 4)


@pytest.mark.parametrize("ranks", SIZES)
def test_sync_batchnorm_equals_torch_on_whole_batch(runs, ranks):
    """Oracle: torch's BatchNorm on the whole batch in float64, that of rows which the ranks share unevenly."""
    spec = importlib.util.spec_from_file_location("ranks", RANKS)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    found = torch.load(runs / f"layers_{ranks}" / "layers.pt", weights_only=True)
    for name, (layer, batch, weights) in script.batch_normalisations().items():
        x = batch.clone().requires_grad_()
        output = layer(x)
        (output * weights).sum().backward()
        expected = {"output": output.detach(), "input": x.grad} | {k: p.grad for k, p in layer.named_parameters()}
        expected |= layer.state_dict()
        assert found[name].keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(found[name][key], value, rtol=1e-10, atol=1e-10, msg=f"{name}, {key}")


@pytest.mark.parametrize("ranks", SIZES)
def test_unused_parameter_is_named(runs, ranks):
    assert (
        (runs / f"unused_{ranks}" / "error.txt")
        .read_text()
        .startswith("spare.weight, spare.bias: not used by the loss")
    )
    assert json.loads((runs / f"unused_{ranks}" / "run" / "summary.json").read_text())["step"] == 0
    assert metrics(runs / "unused_1")  # alone it trains


def deaths(folder: Path) -> tuple[float, dict[str, float]]:
    """Return when a rank died, and what the others said before they ended, and when."""
    notes = [json.loads(path.read_text()) for path in (folder / "run").glob("note_*.json")]
    said = {f"{word} {k}": when for k, (word, when) in enumerate(notes) if word != "died"}
    return next(when for word, when in notes if word == "died"), said


@pytest.mark.parametrize("ranks", SIZES)
def test_dead_rank_ends_the_others(runs, ranks):
    """Without anybody who watches them, as under SLURM: an error in one of 2, kill -9 of one of 4."""
    died, said = deaths(runs / f"died_{ranks}")
    assert len(said) == ranks - 1
    assert all(word.startswith("another rank of this run has ended") for word in said)
    assert max(said.values()) - died < 10
    summary = json.loads((runs / f"died_{ranks}" / "run" / "summary.json").read_text())
    assert summary["status"] == "failed"
    assert summary["error"].startswith("RankLostError: another rank of this run has ended")


def test_torchrun_equals_one_process_and_ends_with_a_dead_rank(runs, tmp_path):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    result = start(tmp_path, (2, ["plain", "died"]), launcher=launcher)
    assert_same_run(tmp_path / "plain_2", runs / "plain_1", 12)
    assert result.returncode != 0
    assert time.time() - deaths(tmp_path / "died_2")[0] < 20
