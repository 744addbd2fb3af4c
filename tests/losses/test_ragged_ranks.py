"""Ranks with different numbers of rows are one process with all of them, a rank without any among them.

Oracle: one process. The ranks are real processes (gloo).
"""

import subprocess
import sys
from pathlib import Path

import pytest
import ragged_ranks
import torch

SCRIPT = Path(ragged_ranks.__file__)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ragged")
    run = subprocess.run([sys.executable, str(SCRIPT), str(folder)], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return [torch.load(folder / f"out.{rank}", weights_only=True) for rank in range(3)]


@pytest.fixture(scope="module")
def one():
    return ragged_ranks.results(slice(None), slice(None))


def test_sinkhorn_balances_over_all_rows(ranks, one):
    found = torch.cat([rank["sinkhorn"] for rank in ranks])
    torch.testing.assert_close(found, one["sinkhorn"], rtol=1e-12, atol=0)


@pytest.mark.parametrize("centering", ["mean", "sinkhorn"])
def test_ibot_of_masked_rows_has_the_value_gradient_and_centre_of_one_process(ranks, one, centering):
    expected = one[f"ibot {centering}"]
    found = [rank[f"ibot {centering}"] for rank in ranks]
    gradient = sum(rank["gradient"] for rank in found) / 3  # as DDP averages
    torch.testing.assert_close(gradient, expected["gradient"], rtol=1e-10, atol=1e-15)
    for rank in found:
        torch.testing.assert_close(rank["values"], expected["values"], rtol=1e-12, atol=0)
        assert rank["state"].keys() == expected["state"].keys()
        for key, value in expected["state"].items():
            torch.testing.assert_close(rank["state"][key], value, rtol=1e-12, atol=1e-15)
