"""Killed processes, and the results of their resumed runs.

Oracle: the same run, never killed. The figures with hundreds of kills are in ``runs/bench/RESULTS.rst``.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "runs" / "bench" / "crash_recovery.py"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "trials"),
    [
        (["--n=3", "--passages=1"], 8),  # at random, and at each of the five places inside a save
        (["--n=2", "--passages=1", "--background"], 7),
        (["--n=2", "--signal=TERM"], 2),
        (["--n=3", "--damage", "--seed=3"], 3),
        (["--n=2", "--passages=0", "--ranks=2"], 2),  # one of them is killed, or both
        (["--n=1", "--signal=TERM", "--ranks=2"], 1),  # one of them gets it
    ],
)
def test_killed_run_equals_uninterrupted_run(options, trials):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, str(SCRIPT), *options], env=environment, capture_output=True, text=True, timeout=280
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{trials} of {trials} runs equal" in result.stdout


def test_comparison_finds_a_single_bit():
    spec = importlib.util.spec_from_file_location("crash_recovery", SCRIPT)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    state = {"model": {"weight": torch.ones(3)}, "steps": [1, 2], "lr": 0.1}
    assert benchmark.differences(state, {"model": {"weight": torch.ones(3)}, "steps": [1, 2], "lr": 0.1}) == []
    other = {"model": {"weight": torch.tensor([1.0, 1.0, 1.0 + 2**-23])}, "steps": [1, 3], "lr": 0.1}
    assert benchmark.differences(state, other) == ["/model/weight", "/steps/1: 2, 3"]
    assert benchmark.differences(state, {"model": {}, "steps": [1], "lr": 0.1}) == [
        "/model: keys ['weight']", "/steps: 2 and 1 entries",
    ]  # fmt: skip
