"""The memory bank. Oracle of the update with momentum: the formula of Wu et al. 2018, section 3.2."""

import doctest

import torch
import torch.nn.functional as F

from ssl_core.modules import memory_bank
from ssl_core.modules.memory_bank import MemoryBank
from ssl_losses import accumulate_updates

IDS = torch.tensor([2, 5, 7, 11, 400])


def rows(seed, count=5):
    return F.normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(seed)), dim=1)


def bank(momentum=0.5):
    made = MemoryBank(momentum)
    made.fill(IDS, rows(0))
    return made


def test_docstring_example():
    assert doctest.testmod(memory_bank).failed == 0


def test_update_moves_the_rows_of_the_samples_only():
    memory = bank(momentum=0.3)
    memory.update(torch.tensor([400, 5]), rows(1, 2))
    expected = rows(0)
    for position, new in ((4, rows(1, 2)[0]), (1, rows(1, 2)[1])):
        expected[position] = F.normalize(0.3 * expected[position] + 0.7 * new, dim=0)
    torch.testing.assert_close(memory.rows, expected)
    assert torch.equal(memory.lookup(torch.tensor([400, 2])), memory.rows[[4, 0]])


def test_without_momentum_the_row_is_replaced():
    memory = bank(momentum=0.0)
    memory.update(torch.tensor([7]), 2 * rows(1, 1))
    assert torch.equal(memory.lookup(torch.tensor([7])), 2 * rows(1, 1))


def test_accumulated_updates_equal_that_of_one_batch():
    whole, parts = bank(), bank()
    whole.update(IDS[[4, 1, 3, 0]], rows(1, 4))
    for k in range(2):
        with accumulate_updates(parts, last=k == 1):
            parts.update(IDS[[4, 1, 3, 0]][2 * k : 2 * k + 2], rows(1, 4)[2 * k : 2 * k + 2])
        assert torch.equal(parts.rows, whole.rows) == (k == 1)


def test_state_loads_into_an_empty_bank():
    memory, other = bank(), MemoryBank(0.5)
    other.load_state_dict(memory.state_dict())
    assert torch.equal(other.ids, IDS)
    assert torch.equal(other.rows, memory.rows)
    assert len(other) == 5


def test_update_before_backward_keeps_the_gradient():
    memory = bank()
    z = rows(2, 2).requires_grad_()
    loss = (z * memory.lookup(IDS[:2])).sum()
    memory.update(IDS[:2], z.detach())
    loss.backward()
    assert torch.equal(z.grad, rows(0)[:2])
