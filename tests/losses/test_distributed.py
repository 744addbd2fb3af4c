"""Every loss on several ranks equals one process on the concatenated batch.

Oracle: the same loss in one process (itself checked against plain formulas in ``test_contract``). The ranks are real
processes (gloo), see ``ranks.py``.
"""

import functools
import math
import subprocess
import sys

import pytest
import ranks
import torch

from ssl_losses import LOSSES

every_loss = pytest.mark.parametrize("name", LOSSES)


@pytest.fixture(scope="module")
def results(request, tmp_path_factory):
    """Return ``{world_size: [results of each rank]}``, for the losses that this session tests."""
    folder = tmp_path_factory.mktemp("ranks")
    tests = [item for item in request.session.items if item.path == request.path and hasattr(item, "callspec")]
    names = {test.callspec.params["name"] for test in tests if "name" in test.callspec.params}
    command = [sys.executable, ranks.__file__, str(folder), *sorted(names)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr
    return {
        size: [torch.load(folder / str(size) / f"out.{rank}", weights_only=True) for rank in range(size)]
        for size in ranks.WORLD_SIZES
    }


@functools.cache
def one_process(name):
    return ranks.steps(name, slice(None))


def flat(gradients):
    return torch.cat([gradient.flatten() for gradient in gradients])


def assert_near(found, expected):
    assert expected.norm() > 0
    assert (found - expected).norm() <= 1e-10 * expected.norm()


@pytest.mark.parametrize("world_size", ranks.WORLD_SIZES)
@every_loss
def test_ranks_equal_one_process_on_the_concatenated_batch(results, name, world_size):
    """Value, averaged gradients and state, in two steps; value and state are the same on all ranks, to the bit."""
    expected = one_process(name)
    assert any(flat(gradients).norm() > 0 for _, gradients, _ in expected)  # the first step may find an empty queue
    first = results[world_size][0]["losses"][name]["steps"]
    for rank in results[world_size]:
        for found, of_first, one in zip(rank["losses"][name]["steps"], first, expected):
            (loss, gradients, state), (one_loss, one_gradients, one_state) = found, one
            assert loss.item() == pytest.approx(one_loss.item(), rel=1e-10)
            ours, theirs = flat(gradients), flat(one_gradients)
            assert (ours - theirs).norm() <= 1e-10 * theirs.norm()
            assert state.keys() == one_state.keys()
            assert torch.equal(loss, of_first[0])
            for key in state:
                torch.testing.assert_close(state[key], one_state[key], rtol=1e-10, atol=1e-12)
                assert torch.equal(state[key], of_first[2][key])


@every_loss
def test_uneven_batches_raise_on_every_rank(results, name):
    for rank in results[3]:
        assert "every rank must hold" in rank["losses"][name]["uneven"]


@every_loss
def test_bad_batch_of_one_rank_raises_on_every_rank(results, name):
    """Afterwards the ranks are in step: the same batches give the same results."""
    first, *others = (rank["losses"][name] for rank in results[3])
    assert "floating point, got torch.int64" in first["one bad"]
    for other in others:
        assert "another rank has an invalid batch" in other["one bad"]
    for found in (first, *others):
        for (loss, gradients, _), (again, gradients_again, _) in zip(found["steps"], found["again"]):
            assert torch.equal(loss, again)
            assert torch.equal(flat(gradients), flat(gradients_again))


def test_grad_cache_under_ddp_equals_one_process(results):
    images, texts, criterion, x, y = ranks.encoders()
    loss = criterion(images(x), texts(y))
    expected = torch.autograd.grad(loss, [p for part in (images, texts, criterion) for p in part.parameters()])
    for rank in results[2]:
        assert rank["grad_cache"]["loss"].item() == pytest.approx(loss.item(), rel=1e-10)
        assert_near(flat(rank["grad_cache"]["gradients"]), flat(expected))


def test_siglip_parameters_get_the_same_gradient_on_every_rank(results):
    """Without an average over the ranks, as where the loss is not part of what DDP wraps."""
    for rank in results[2]:
        torch.testing.assert_close(rank["siglip"], ranks.siglip_gradients(slice(None)), rtol=1e-10, atol=0)


def test_readme_recipe_keeps_the_ranks_alike(results):
    first, second = (rank["recipe"] for rank in results[2])
    assert torch.equal(first["loss"], second["loss"])
    assert all(torch.equal(a, b) for a, b in zip(first["weights"], second["weights"]))
    assert 0 < first["loss"] < math.log(2 * 32 - 1) + 5  # 32 images on both ranks


def test_shape_check_raises_on_every_rank_without_device_sync(results):
    """Where the process group has no CPU backend, as ``nccl``, one group on the CPU is made and kept."""
    for rank in results[2]:
        found = rank["no cpu backend"]
        assert found["groups"] == 1
        assert [bool(message) for message in found["messages"]] == [False, False, True, False]
        assert "they hold from 1 of (3, 3) to 1 of (4, 3)" in found["messages"][2]


@pytest.mark.parametrize("part", ["sinkhorn", "sinkhorn of a stack"])
def test_sinkhorn_balances_uneven_rows_of_all_ranks(results, part):
    """One of the ranks has no row."""
    found = torch.cat([rank["uneven_rows"][part] for rank in results[3]])
    expected = ranks.uneven_rows(slice(None), slice(None))[part]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("centering", ["mean", "sinkhorn"])
def test_ibot_with_uneven_masks_equals_one_process(results, centering):
    """Value, gradient and centre; one of the ranks has no masked patch."""
    expected = ranks.uneven_rows(slice(None), slice(None))[f"ibot {centering}"]
    found = [rank["uneven_rows"][f"ibot {centering}"] for rank in results[3]]
    gradient = sum(rank["gradient"] for rank in found) / 3  # as DDP averages
    torch.testing.assert_close(gradient, expected["gradient"], rtol=1e-10, atol=1e-15)
    for rank in found:
        torch.testing.assert_close(rank["values"], expected["values"], rtol=1e-12, atol=0)
        assert rank["state"].keys() == expected["state"].keys()
        for key, value in expected["state"].items():
            torch.testing.assert_close(rank["state"][key], value, rtol=1e-12, atol=1e-15)
