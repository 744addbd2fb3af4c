"""SwAV beyond the contract. Oracle: SwaVLoss of pip's lightly 1.6, which takes the scores.

Deviations: lightly returns one number in a vector, and leaves prototypes, normalisation and queue to the caller.
"""

import pytest
import torch
from lightly.loss import SwaVLoss as LightlySwaVLoss

from ssl_losses import SwAVLoss, swav


def unit(z):
    return torch.nn.functional.normalize(z, dim=1)


def views(number, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(8, 5, generator=generator) for _ in range(number)]


@pytest.fixture
def prototypes():
    return views(1, seed=9)[0]


def test_value_is_that_of_lightly(prototypes):
    scores = [unit(z) @ unit(prototypes).T for z in views(5)]
    expected = LightlySwaVLoss()(scores[:2], scores[2:]).squeeze()
    torch.testing.assert_close(swav(*views(5), prototypes=prototypes), expected)


def test_value_with_queues_is_that_of_lightly(prototypes):
    queues = [torch.cat(views(2, seed=seed)) for seed in (3, 4)]
    scores = [unit(z) @ unit(prototypes).T for z in views(4)]
    expected = LightlySwaVLoss()(
        scores[:2], scores[2:], queue_outputs=[unit(queue) @ unit(prototypes).T for queue in queues]
    )
    torch.testing.assert_close(swav(*views(4), prototypes=prototypes, queues=queues), expected.squeeze())


def test_single_global_view_is_predicted_by_the_others(prototypes):
    scores = [unit(z) @ unit(prototypes).T for z in views(3)]
    expected = LightlySwaVLoss()(scores[:1], scores[1:]).squeeze()
    torch.testing.assert_close(swav(*views(3), prototypes=prototypes, global_views=1), expected)


def test_length_of_the_prototypes_does_not_matter(prototypes):
    torch.testing.assert_close(swav(*views(3), prototypes=7 * prototypes), swav(*views(3), prototypes=prototypes))


def test_prototypes_learn_and_codes_do_not():
    """Oracle: the gradient of the cross-entropy with the codes held constant."""
    loss = SwAVLoss(num_prototypes=4, dimensions=5)
    a, b = views(2)
    loss(a, b).backward()
    directions = loss.prototypes.detach().clone().requires_grad_()
    scores = [unit(z) @ unit(directions).T for z in (a, b)]
    LightlySwaVLoss()(scores, []).backward()
    torch.testing.assert_close(loss.prototypes.grad, directions.grad)


def test_queue_holds_earlier_batches_only_and_only_when_asked():
    loss = SwAVLoss(num_prototypes=4, dimensions=5, queue_size=20)
    without = SwAVLoss(num_prototypes=4, dimensions=5)
    without.prototypes = loss.prototypes
    assert torch.equal(loss(*views(3), use_queue=False), without(*views(3)))
    assert len(loss.queues[0].rows) == 0
    assert torch.equal(loss(*views(3)), without(*views(3)))  # the first batch meets an empty queue
    torch.testing.assert_close(loss.queues[1].rows, unit(views(3)[1]))
    assert not torch.equal(loss(*views(3, seed=1)), without(*views(3, seed=1)))


def test_queue_shares_the_prototypes_that_a_batch_crowds():
    """All samples of a batch want the first prototype; balanced by itself, the batch may not keep it."""
    crowd = torch.eye(4)[:1].repeat(3, 1) + 0.01 * torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    others = torch.eye(4)[1:].repeat_interleave(3, 0)
    z = crowd.requires_grad_()
    alone = swav(z, z, prototypes=torch.eye(4), temperature=0.1)
    together = swav(z, z, prototypes=torch.eye(4), queues=[others, others], temperature=0.1)
    assert together < 0.01 < 1 < alone


def test_illegal_arguments_raise(prototypes):
    with pytest.raises(ValueError, match="at least global_views=3 views, got 2"):
        swav(*views(2), prototypes=prototypes, global_views=3)
    with pytest.raises(ValueError, match="a queue for each of global_views=2 views, got 1"):
        swav(*views(2), prototypes=prototypes, queues=[prototypes])
    with pytest.raises(ValueError, match=r"prototypes must be \(K, D\).*\(8, 5\), got shape \(8, 4\)"):
        swav(*views(2), prototypes=prototypes[:, :4])
    with pytest.raises(ValueError, match=r"queue must be \(K, D\).*\(8, 5\), got shape \(8, 4\)"):
        swav(*views(2), prototypes=prototypes, queues=[prototypes[:, :4]] * 2)
    with pytest.raises(ValueError, match=r"epsilon must be .* got 0"):
        SwAVLoss(epsilon=0)
    with pytest.raises(ValueError, match="queue_size must be at least 0, got -1"):
        SwAVLoss(queue_size=-1)


def test_update_equals_forward_and_is_checked():
    loss, other = (SwAVLoss(num_prototypes=4, dimensions=5, queue_size=20) for _ in range(2))
    loss(*views(3))
    other.update(*views(3))
    assert torch.equal(loss.queues[1].rows, other.queues[1].rows)
    with pytest.raises(ValueError, match=r"\(8, 4\), got shape \(4, 5\)"):
        other.update(*(z[:, :4] for z in views(2)))
    with pytest.raises(ValueError, match="at least 2 views, got 1"):
        other.update(*views(1))
