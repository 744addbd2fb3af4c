"""NNCLR beyond the contract."""

import math

import pytest
import torch
import torch.nn.functional as F
from views import pair

from ssl_losses import NNCLRLoss, nnclr
from ssl_losses.similarity.nearest import neighbours


def support(rows=40):
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def test_lightly_finds_the_sameneighbours():
    """Oracle: lightly 1.6, NNMemoryBankModule; it normalises for the search and returns the rows as they were put in."""
    from lightly.models.modules import NNMemoryBankModule

    bank = NNMemoryBankModule(size=(40, 5)).double()
    bank.bank = support()
    z, _ = pair()
    found = neighbours(F.normalize(z), F.normalize(support()))
    torch.testing.assert_close(found, F.normalize(bank(z)))


def test_loss_is_that_of_the_papers_pseudocode():
    """Oracle: torch's cross-entropy of the neighbours' logits, both ways.

    lightly 1.6 has no NNCLR loss of its own: its examples feed neighbours and predictions to NT-Xent, which adds the
    similarities among neighbours and among predictions to the negatives; the paper has neither.
    """
    p1, p2 = pair()
    z1, z2 = p2.flip(0), p1.flip(0)
    rows = F.normalize(support())

    def one_way(z, p):
        neighbours = rows[(F.normalize(z) @ rows.T).argmax(1)]
        return F.cross_entropy(neighbours @ F.normalize(p).T / 0.3, torch.arange(16))

    expected = (one_way(z1, p2) + one_way(z2, p1)) / 2
    torch.testing.assert_close(nnclr(p1, p2, z1, z2, support(), 0.3), expected, rtol=1e-12, atol=1e-12)


def test_value_equals_manual_calculation():
    """Four orthogonal images that are their own neighbours: e against e + 3."""
    eye = torch.eye(4, dtype=torch.float64)
    assert nnclr(eye, eye, eye, eye, eye, 1.0).item() == pytest.approx(math.log(math.e + 3) - 1)


def test_neighbour_is_never_the_sample_itself():
    """The support set takes this batch in after the search: on the second step the neighbours are of the first."""
    loss = NNCLRLoss(temperature=1.0).double()
    first, second = torch.eye(4, dtype=torch.float64).split(2)
    loss(first, first, first, first)
    value = loss(second, second, second, second)  # orthogonal to both rows of the support set
    assert value.item() == pytest.approx(math.log(2))  # with itself as the neighbour it were log(1 + 1 / e)


def test_projections_and_support_set_count_as_constants():
    p, z = (x.requires_grad_() for x in pair())
    rows = support().requires_grad_()
    nnclr(p, p, z, z, rows).backward()
    assert p.grad.any()
    assert z.grad is None
    assert rows.grad is None


def test_without_a_neighbour_the_loss_is_zero():
    loss, (p, z) = NNCLRLoss(), pair()
    p.requires_grad_()
    value = loss(p, p, z, z)
    value.backward()
    assert value.item() == 0
    assert not p.grad.any()
    assert len(loss.support.rows) == len(z)


def test_only_the_first_view_enters_the_support_set():
    """As in the paper's pseudocode."""
    loss, (z1, z2) = NNCLRLoss(), pair()
    loss(z1, z2, z1, z2)
    torch.testing.assert_close(loss.support.rows, F.normalize(z1))


@pytest.mark.parametrize("temperature", [1e-6, 0.1, 100.0])
def test_half_precision_is_finite_with_a_support_set(temperature):
    p, z = (x.half() for x in pair())
    p.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = nnclr(p, p, z, z, support(), temperature)
    value.backward()
    assert value.isfinite()
    assert p.grad.isfinite().all()


@pytest.mark.parametrize("make", [torch.zeros_like, torch.ones_like])
def test_degenerate_batches_are_finite_with_a_support_set(make):
    p, z = (make(x) for x in pair())
    p.requires_grad_()
    for rows in (support(), make(support())):
        value = nnclr(p, p, z, z, rows)
        value.backward()
        assert value.isfinite()
        assert p.grad.isfinite().all()
