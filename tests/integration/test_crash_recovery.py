"""Killed processes, and the results of their resumed runs.

Oracle: the same run, never killed. The figures with hundreds of kills are in ``runs/bench/RESULTS.rst``.
"""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "runs" / "bench" / "crash_recovery.py"


CASES = [
    "--n=3 --passages=1",  # at random, and at each of the five places inside a save
    "--n=1 --passages=1 --background",
    "--n=2 --signal=TERM",
    "--n=3 --damage --seed=3",
    "--n=2 --passages=0 --ranks=2",  # one of them is killed, or both
    "--n=1 --signal=TERM --ranks=2",  # one of them gets it
]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_run_equals_uninterrupted_run():
    """All cases in one process, which imports torch once: the runs are forked from it."""
    code = "import sys, crash_recovery; sys.exit(sum(crash_recovery.main(case.split()) for case in sys.argv[1:]))"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parent)}
    result = subprocess.run(
        [sys.executable, "-c", code, *CASES], env=environment, capture_output=True, text=True, timeout=1100
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.findall(r"\d+ of \d+ runs equal", result.stdout) == [f"{n} of {n} runs equal" for n in (8, 6, 2, 3, 2, 1)]


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
