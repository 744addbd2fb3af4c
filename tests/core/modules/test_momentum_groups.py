"""The groups of SMoG. Oracle: SMoGPrototypes of lightly 1.6, with normalised embeddings."""

import pytest
import torch
import torch.nn.functional as F
from lightly.models.modules.heads import SMoGPrototypes

from ssl_core.modules.momentum_groups import MomentumGroups
from ssl_losses import accumulate_updates


def rows(seed, count=12):
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def groups():
    made = MomentumGroups(5, 4, beta=0.8, temperature=0.2).double()
    made.groups = F.normalize(rows(9, 5), dim=1)
    return made


def test_loss_gradients_and_groups_are_those_of_lightly(groups):
    theirs = SMoGPrototypes(groups.groups.clone(), beta=0.8)
    p, z, t = (rows(seed) for seed in range(3))
    ours = [p.clone().requires_grad_(), z.clone().requires_grad_()]
    loss = groups(*ours, t)
    loss.backward()
    other = [p.clone().requires_grad_(), z.clone().requires_grad_()]
    moved = theirs.get_updated_group_features(F.normalize(other[1], dim=1))
    expected = F.cross_entropy(theirs(other[0], moved, temperature=0.2), theirs.assign_groups(t))
    expected.backward()
    torch.testing.assert_close(loss, expected)
    for a, b in zip(ours, other):
        torch.testing.assert_close(a.grad, b.grad)
        assert a.grad.any()
    torch.testing.assert_close(groups.groups, moved.detach())


def test_group_without_embeddings_stays(groups):
    before = groups.groups.clone()
    z = before[:1].repeat(3, 1)
    groups(z, z, z)
    assert torch.equal(groups.groups[1:], before[1:])
    torch.testing.assert_close(groups.groups[0], before[0])  # its own direction


def test_evaluation_does_not_move_the_groups(groups):
    before = groups.groups.clone()
    groups.eval()(rows(0), rows(1), rows(2))
    assert torch.equal(groups.groups, before)


def test_accumulated_update_equals_that_of_one_batch(groups):
    before = groups.groups.clone()
    groups(rows(0), rows(1), rows(2))
    whole, groups.groups = groups.groups, before
    for k in range(3):
        part = slice(4 * k, 4 * k + 4)
        with accumulate_updates(groups, last=k == 2):
            groups(rows(0)[part], rows(1)[part], rows(2)[part])
    torch.testing.assert_close(groups.groups, whole)
