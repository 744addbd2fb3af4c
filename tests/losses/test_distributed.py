"""One contract for every loss: many ranks are one process on the concatenated batch.

Oracle: the same loss in one process (itself checked against plain formulas in ``test_contract``). The ranks are real
processes (gloo).
"""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ranks import steps

from ssl_losses import LOSSES

SCRIPT = Path(__file__).with_name("ranks.py")


@pytest.fixture(scope="module", params=[2, 3, 4])
def results(request, tmp_path_factory):
    """Return what each rank computed, for the losses that this session tests."""
    world_size, folder = request.param, tmp_path_factory.mktemp("ranks")
    tests = [item for item in request.session.items if item.path == Path(__file__)]
    names = {test.callspec.params["name"] for test in tests}
    run = subprocess.run(
        [sys.executable, str(SCRIPT), str(world_size), str(folder), *sorted(names)],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return [torch.load(folder / f"out.{rank}", weights_only=True) for rank in range(world_size)]


def flat(gradients):
    return torch.cat([gradient.flatten() for gradient in gradients])


@pytest.mark.parametrize("name", LOSSES)
def test_ranks_are_one_process_on_the_concatenated_batch(results, name):
    """Value, averaged gradients and state, in two steps; every rank returns the same value."""
    expected = steps(name, slice(None))
    assert any(flat(gradients).norm() > 0 for _, gradients, _ in expected)  # the first step may find an empty queue
    for found in results:
        for (loss, gradients, state), (one_loss, one_gradients, one_state) in zip(found[name]["steps"], expected):
            assert loss.item() == pytest.approx(one_loss.item(), rel=1e-10)
            ours, theirs = flat(gradients), flat(one_gradients)
            assert (ours - theirs).norm() <= 1e-10 * theirs.norm()
            assert state.keys() == one_state.keys()
            for key in state:
                torch.testing.assert_close(state[key], one_state[key], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_all_ranks_hold_the_same_state_to_the_bit(results, name):
    first, *others = (found[name]["steps"] for found in results)
    for other in others:
        for (value, _, state), (their_value, _, their_state) in zip(first, other):
            assert torch.equal(value, their_value)
            assert all(torch.equal(state[key], their_state[key]) for key in state)


@pytest.mark.parametrize("name", LOSSES)
def test_uneven_batches_raise_on_every_rank(results, name):
    for found in results:
        assert "every rank must hold" in found[name]["uneven"]


@pytest.mark.parametrize("name", LOSSES)
def test_bad_batch_of_one_rank_raises_on_every_rank(results, name):
    first, *others = (found[name]["one bad"] for found in results)
    assert "floating point, got torch.int64" in first
    for other in others:
        assert "another rank has an invalid batch" in other


@pytest.mark.parametrize("name", LOSSES)
def test_after_a_refusal_the_ranks_are_in_step(results, name):
    for found in results:
        for (loss, gradients, _), (again, gradients_again, _) in zip(found[name]["steps"], found[name]["again"]):
            assert torch.equal(loss, again)
            assert torch.equal(flat(gradients), flat(gradients_again))
