"""DeepCluster v2 beyond the contract: the memory, the clusterings and what a user may forget.

Oracle of the loss: torch's cross-entropy with ``ignore_index``, head by head, as in the authors' code. lightly has no such
loss.
"""

import pytest
import torch
import torch.nn.functional as F

from ssl_losses import DeepClusterV2Loss, deepcluster_v2


def views(number, samples=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(samples, 4, generator=generator) for _ in range(number)]


def loss_over(samples=20, **options):
    return DeepClusterV2Loss(num_samples=samples, dimensions=4, num_prototypes=3, **options)


def generator():
    return torch.Generator().manual_seed(2)


def test_value_is_that_of_the_authors_code():
    """The mean over the heads of a cross-entropy over all views, which ignores samples without assignment."""
    prototypes = F.normalize(torch.randn(2, 3, 4, generator=generator()), dim=2)
    assignments = torch.tensor([[0, 2, -1, 1, 1, 0], [2, 2, -1, 0, 1, 1]])
    z = F.normalize(torch.cat(views(3)))
    expected = sum(
        F.cross_entropy(z @ prototypes[h].T / 0.1, assignments[h].repeat(3), ignore_index=-1) for h in range(2)
    )
    found = deepcluster_v2(*views(3), prototypes=prototypes, assignments=assignments)
    torch.testing.assert_close(found, expected / 2)


def test_no_assigned_sample_at_all_is_a_loss_of_0():
    z = views(1)[0].requires_grad_()
    value = deepcluster_v2(z, prototypes=torch.eye(4)[None], assignments=torch.full((1, 6), -1))
    value.backward()
    assert value.item() == 0
    assert not z.grad.any()


def test_training_before_the_first_clustering_raises():
    loss = loss_over()
    with pytest.raises(ValueError, match=r"no clusters yet; call cluster\(\) first"):
        loss(torch.arange(6), *views(2))
    assert not loss.memory.any()


def test_epoch_trains_on_the_features_of_the_one_before():
    loss = loss_over(samples=12)
    for start in (0, 6):
        loss.update(torch.arange(start, start + 6), *views(3, seed=start))
    loss.cluster(generator=generator())
    torch.testing.assert_close(loss.memory[1], F.normalize(torch.cat([views(3)[1], views(3, seed=6)[1]])))
    assert loss.prototypes.shape == (3, 3, 4)
    assert loss.assignments.shape == (3, 12)
    assert (loss.assignments >= 0).all()
    # clustering h is of view h modulo 2
    for clustering, (centroids, assignments) in enumerate(zip(loss.prototypes, loss.assignments)):
        assert torch.equal(assignments, (loss.memory[clustering % 2] @ centroids.T).argmax(1))
    before = loss.assignments
    expected = deepcluster_v2(*views(3, seed=9), prototypes=loss.prototypes, assignments=before[:, 3:9])
    assert torch.equal(loss(torch.arange(3, 9), *views(3, seed=9)), expected)
    assert loss.assignments is before  # only cluster() changes them
    torch.testing.assert_close(loss.memory[0, 3:9], F.normalize(views(3, seed=9)[0]))


def test_sample_that_was_not_seen_has_no_assignment():
    loss = loss_over(samples=8)
    loss.update(torch.tensor([0, 2, 3, 5, 6, 7]), *views(2))
    loss.cluster()
    assert (loss.assignments == -1).nonzero()[:, 1].tolist() == [1, 4] * 3


def test_clustering_before_backward_keeps_the_gradient():
    loss = loss_over(samples=6)
    loss.update(torch.arange(6), *views(2))
    loss.cluster()
    z = [view.requires_grad_() for view in views(2)]
    value = loss(torch.arange(6), *z)
    loss.cluster()
    value.backward()
    assert z[0].grad.isfinite().all()


@pytest.mark.parametrize("clustered", [False, True])
def test_state_loads_into_a_new_module_clustered_or_not(clustered):
    loss, other = loss_over(samples=6), loss_over(samples=6)
    loss.update(torch.arange(6), *views(2))
    if clustered:
        loss.cluster()
    other.load_state_dict(loss.state_dict())
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in loss.state_dict().items())


def test_state_of_another_shape_raises():
    loss = loss_over(samples=6)
    loss.update(torch.arange(6), *views(2))
    loss.cluster()
    for other in (loss_over(samples=7), loss_over(samples=6, num_clusterings=2), loss_over(samples=6, global_views=1)):
        with pytest.raises(RuntimeError, match="size mismatch"):
            other.load_state_dict(loss.state_dict())


def test_illegal_arguments_raise():
    loss = loss_over()
    with pytest.raises(ValueError, match=r"from 0 to num_samples - 1 = 19, got 15 to 20"):
        loss.update(torch.arange(15, 21), *views(2))
    with pytest.raises(ValueError, match=r"from 0 to num_samples - 1 = 19, got -1 to 4"):
        loss.update(torch.arange(-1, 5), *views(2))
    with pytest.raises(ValueError, match=r"int64 \(N,\).*\(6, 4\), \(6, 4\), got torch.float32 of shape \(6,\)"):
        loss.update(torch.ones(6), *views(2))
    with pytest.raises(ValueError, match="at least 2 views, got 1"):
        loss.update(torch.arange(6), *views(1))
    with pytest.raises(ValueError, match=r"D = 4, got shape \(6, 3\); dimensions sets it"):
        loss.update(torch.arange(6), *(z[:, :3] for z in views(2)))
    with pytest.raises(ValueError, match="3 clusters need at least as many rows, got 0"):
        loss.cluster()
    with pytest.raises(
        ValueError, match=r"assignments must be int64 \(H, N\) = \(1, 6\), got torch.int64 of shape \(1, 5\)"
    ):
        deepcluster_v2(*views(2), prototypes=torch.eye(4)[None], assignments=torch.zeros(1, 5, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"prototypes must be \(H, K, D\), got shape \(4, 4\)"):
        deepcluster_v2(*views(2), prototypes=torch.eye(4), assignments=torch.zeros(1, 6, dtype=torch.int64))
    with pytest.raises(ValueError, match="num_clusterings must be at least 1, got 0"):
        loss_over(num_clusterings=0)
