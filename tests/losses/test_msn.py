"""MSN and PMSN beyond the contract. Oracles: MSNLoss and PMSNLoss of pip's lightly 1.6.

Deviations: lightly takes the anchors of all views in one tensor, and the prototypes as an argument. Its PMSN takes the
divergence of the prior from the mean assignment, KL(π ‖ p̄); the paper's is KL(p̄ ‖ π), whose uniform case is MSN. It balances
the targets by default, which ours does not: that pulls them towards the uniform prior.
"""

import math

import pytest
import torch
from lightly.loss import MSNLoss as LightlyMSNLoss
from lightly.loss import PMSNLoss as LightlyPMSNLoss

from ssl_losses import MSNLoss, PMSNLoss, msn, pmsn

FUNCTIONS = [msn, pmsn]


def views(number, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(8, 5, generator=generator) for _ in range(number)]


@pytest.fixture
def prototypes():
    return torch.randn(6, 5, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("iterations", [0, 3])
@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_msn_is_that_of_lightly(prototypes, iterations, weight):
    anchors, target = views(3), views(1, seed=1)[0]
    theirs = LightlyMSNLoss(sinkhorn_iterations=iterations, regularization_weight=weight)
    expected = theirs(torch.cat(anchors), target, prototypes)
    found = msn(anchors, target, prototypes, sinkhorn_iterations=iterations, mean_entropy=weight)
    torch.testing.assert_close(found, expected)


@pytest.mark.filterwarnings("ignore:To copy construct from a tensor")  # lightly's
def test_pmsn_equals_lightly_up_to_the_divergence(prototypes):
    anchors, target = views(3), views(1, seed=1)[0]
    theirs = LightlyPMSNLoss(sinkhorn_iterations=0, power_law_exponent=0.5)
    without = LightlyPMSNLoss(sinkhorn_iterations=0, regularization_weight=0)
    directions = torch.nn.functional.normalize(prototypes)
    mean = (torch.nn.functional.normalize(torch.cat(anchors)) @ directions.T / 0.1).softmax(1).mean(0)
    law = torch.arange(1, 7) ** -0.5
    law = law / law.sum()
    cross_entropy = without(torch.cat(anchors), target, prototypes)
    torch.testing.assert_close(
        theirs(torch.cat(anchors), target, prototypes), cross_entropy + (law * (law / mean).log()).sum()
    )
    torch.testing.assert_close(
        pmsn(anchors, target, prototypes, exponent=0.5), cross_entropy + (mean * (mean / law).log()).sum()
    )


def test_pmsn_with_a_flat_law_is_msn(prototypes):
    arguments = views(2), views(1, seed=1)[0], prototypes
    torch.testing.assert_close(pmsn(*arguments, exponent=0.0), msn(*arguments, sinkhorn_iterations=0))


def test_mean_assignment_follows_the_prior():
    """One sample on the first of two prototypes and one on the second: uniform is right for MSN, not for a steep law."""
    z, options = torch.eye(2), {"temperature": 0.01}
    assert msn([z], z, torch.eye(2), **options).item() == pytest.approx(0, abs=1e-6)
    law = [8 / 9, 1 / 9]  # 1 and 2 ** -3
    expected = sum(0.5 * math.log(0.5 / share) for share in law)
    assert pmsn([z], z, torch.eye(2), exponent=3.0, **options).item() == pytest.approx(expected)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_unused_prototype_has_a_finite_gradient(function):
    """Its mean assignment underflows to 0 in float32: 0 · log 0 on probabilities is NaN in the backward pass."""
    prototypes = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    z = torch.tensor([[1.0, 0.1], [1.0, -0.1]], requires_grad=True)
    value = function([z], z.detach(), prototypes, temperature=1e-3)
    value.backward()
    assert value.isfinite()
    assert prototypes.grad.isfinite().all()
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_illegal_arguments_raise(function, prototypes):
    (target,) = views(1)
    with pytest.raises(ValueError, match="at least 2 views, got 1"):
        function([], target, prototypes)
    with pytest.raises(ValueError, match=r"\(8, 5\), got shape \(6, 4\)"):
        function([target], target, prototypes[:, :4])
    with pytest.raises(ValueError, match=r"target_sharpening must be above 0 and at most 1, got 0"):
        function([target], target, prototypes, target_sharpening=0)
    for module in (MSNLoss, PMSNLoss):
        with pytest.raises(ValueError, match="num_prototypes must be at least 1, got 0"):
            module(num_prototypes=0)
    with pytest.raises(ValueError, match=r"mean_entropy must be .* got -1"):
        MSNLoss(mean_entropy=-1)
    with pytest.raises(ValueError, match=r"exponent must be .* got -1"):
        PMSNLoss(exponent=-1)
