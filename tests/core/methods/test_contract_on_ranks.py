"""Every method of METHODS on two ranks (gloo, float64). Oracle: the same run in one process.

All methods run in one process, then in one pair of ranks (``tests/core/ranks.py``): torch is imported twice.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ssl_core.methods import METHODS

RANKS = Path(__file__).parents[1] / "ranks.py"
TRAINED = [name for name in METHODS if name != "baseline"]
pytestmark = pytest.mark.timeout(1500)  # all methods run before the first test

# Methods whose loss compares the samples of a batch, outside of GradCache: the mean over two batches is another loss. That of
# AIM is a mean over predicted patches, of which each image has another number.
NOT_ADDITIVE = (
    "aim", "all4one", "capi", "cmae", "dinov2", "dinov3", "moco_v3", "msn", "nnclr", "pmsn", "smog", "swav", "tico", "vicregl",
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("methods")
    alone = [f"{name}, {setting}" for name in TRAINED for setting in ("frozen", setting_of(name, "whole"))]
    shared = [f"{name}, {setting}" for name in TRAINED for setting in ("frozen", setting_of(name, "halves"))]
    result = subprocess.run(
        [sys.executable, str(RANKS), str(folder), json.dumps([(1, alone), (2, shared)])],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-6000:]
    return folder


def setting_of(name, batches):
    return f"still {batches}" if name in NOT_ADDITIVE else batches


def state(folder):
    assert not (folder / "error.txt").exists(), (folder / "error.txt").read_text()
    found = torch.load(max((folder / "run" / "checkpoints").glob("*.pt")), weights_only=True)
    return {part: found[part] for part in ("model", "optimizer", "probes", "progress")}


def losses(folder):
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    return [line["train/loss"] for line in lines if "train/loss" in line]


@pytest.mark.parametrize("name", TRAINED)
def test_two_ranks_equal_one_process(runs, name):
    """With batch normalisation, and a backbone that is frozen in the first epoch."""
    ours, theirs = runs / f"{name}, frozen_2", runs / f"{name}, frozen_1"
    torch.testing.assert_close(state(ours), state(theirs), rtol=1e-9, atol=1e-11)
    assert losses(ours) == pytest.approx(losses(theirs), rel=1e-9)


@pytest.mark.parametrize("name", TRAINED)
def test_frozen_backbone_does_not_change(runs, name):
    """Neither does its copy in a teacher; every other parameter does, but for biases, whose gradient may be zero."""
    frozen, others = json.loads((runs / f"{name}, frozen_1" / "frozen.json").read_text())
    assert frozen
    assert not any(frozen.values())
    assert others
    assert [key for key, changed in others.items() if not changed and not key.endswith("bias")] == []


@pytest.mark.parametrize("name", TRAINED)
def test_two_batches_on_two_ranks_equal_one_large_batch(runs, name):
    """Weights, teachers, queues, centres: all of the state, after four optimizer steps.

    Where the loss is not additive, the weights are kept by a learning rate of 0, and the rest moves as with one large batch.
    """
    whole, halves = (setting_of(name, batches) for batches in ("whole", "halves"))
    ours, theirs = state(runs / f"{name}, {halves}_2"), state(runs / f"{name}, {whole}_1")
    assert ours["progress"]["step"] == theirs["progress"]["step"] == 4
    torch.testing.assert_close(ours["model"], theirs["model"], rtol=1e-9, atol=1e-11)
