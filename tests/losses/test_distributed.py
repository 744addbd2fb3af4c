"""One contract for every loss: many ranks are one process on the concatenated batch.

Oracle: the same loss in one process (itself checked against plain formulas in ``test_formulas``). The ranks are real
processes (gloo).
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ssl_losses import LOSSES

SCRIPT = Path(__file__).with_name("ranks.py")
spec = importlib.util.spec_from_file_location("ranks", SCRIPT)
ranks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ranks)


@pytest.fixture(scope="module", params=[2, 3, 4])
def results(request, tmp_path_factory):
    """Return what each rank computed."""
    world_size, folder = request.param, tmp_path_factory.mktemp("ranks")
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(rank), str(world_size), str(folder / "store"), str(folder / "out")],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(world_size)
    ]  # fmt: skip
    try:
        for process in processes:
            output, _ = process.communicate(timeout=120)
            assert process.returncode == 0, output
    finally:
        for process in processes:
            process.kill()
    return [torch.load(f"{folder / 'out'}.{rank}", weights_only=True) for rank in range(world_size)]


def test_no_loss_escapes():
    assert set(ranks.CASES) == set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_averaged_gradients_are_those_of_the_whole_batch(results, name):
    expected_loss, expected = ranks.gradients(name, slice(None))
    for found in results:
        loss, gradients = found[name]
        assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-12)
        ours, theirs = (torch.cat([g.flatten() for g in parts]) for parts in (gradients, expected))
        assert (ours - theirs).norm() <= 1e-10 * theirs.norm()


@pytest.mark.parametrize("name", LOSSES)
def test_uneven_batches_are_refused_on_every_rank(results, name):
    for found in results:
        assert "every rank must hold as many tensors of the same shape" in found[f"{name} uneven"]
