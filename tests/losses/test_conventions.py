"""Each line of the README's table of conventions: another library's or the authors' value, by our function and a factor.

Oracles: pip's lightly 1.6; the formulas of solo-learn, of pytorch-metric-learning and of the authors, written in float64.
"""

import re
from pathlib import Path

import cases.vicregl
import pytest
import torch
import torch.nn.functional as F
from lightly import loss as lightly
from views import pair

from ssl_losses import (
    barlow_twins,
    info_nce,
    mmcr,
    moco_v3,
    negative_cosine_similarity,
    nt_xent,
    pmsn,
    supcon,
    tico,
    vicreg,
    vicregl,
)

README = Path(__file__).parents[2] / "packages" / "ssl-losses" / "README.rst"
A, B = pair()
LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 3, 3, 3, 3, 4, 4, 5, 6, 6, 6])  # classes 2 and 5 have a single sample


def unit(z):
    return z / z.norm(dim=1, keepdim=True)


def cross_entropy(a, b, temperature):
    """Of each row of a with its own row of b among all of b."""
    return F.cross_entropy(unit(a) @ unit(b).T / temperature, torch.arange(len(a)))


def contrastive(a, b, temperature, reduction):
    """SimCLR's softmax over the other 2N - 1 rows, of both views."""
    z = unit(torch.cat([a, b]))
    logits = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    n = len(a)
    losses = -logits.log_softmax(1)[torch.arange(2 * n), torch.arange(2 * n).roll(n)]
    return losses.mean() if reduction == "mean" else losses[:n].mean() + losses[n:].mean()


def correlation_loss(a, b, redundancy):
    """Barlow Twins by batch normalisation, as solo-learn and the authors have it."""
    a, b = (F.batch_norm(z, None, None, training=True, eps=1e-5) for z in (a, b))
    c = a.T @ b / len(a)
    on, off = torch.eye(len(c)).bool(), ~torch.eye(len(c)).bool()
    return (c[on] - 1).square().sum() + redundancy * c[off].square().sum()


def solo_vicreg(a, b):
    """Invariance, the sum of the variance terms, and the sum of the covariance terms."""
    hinges = sum(F.relu(1 - (z.var(0) + 1e-4).sqrt()).mean() for z in (a, b))
    covariances = [torch.cov(z.T) for z in (a, b)]
    shared = sum((c - c.diagonal().diag()).square().sum() / len(c) for c in covariances)
    return 25 * F.mse_loss(a, b) + 25 * hinges + shared


def class_terms(a, b_labels, temperature):
    """SupCon's terms of anchors in one view, NaN where an anchor has no positive."""
    z = unit(a)
    logits = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    positive = (b_labels[:, None] == b_labels).fill_diagonal_(False)
    log_share = logits.log_softmax(1).masked_fill(~positive, 0.0)
    return -log_share.sum(1) / positive.sum(1)


def lightly_tico():
    loss, expected = lightly.TiCoLoss(), []
    past = torch.zeros(5, 5, dtype=torch.float64)
    for a, b in ((A, B), (B, A)):
        past = 0.9 * past + 0.1 * unit(a).T @ unit(a) / len(a)
        expected.append((tico(a, b, past, momentum=1.0) + 1, loss(a, b)))
    return expected


def lightly_mmcr():
    rows = torch.stack([unit(A), unit(B)], 1)
    return mmcr(A, B, A, B, compression=5e-3), lightly.MMCRLoss()(rows, rows)


def lightly_pmsn():
    prototypes = torch.randn(7, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    law = torch.arange(1, 8, dtype=torch.float64).pow(-0.25)
    log_prior = (law / law.sum()).log()
    mean = (unit(A) @ unit(prototypes).T / 0.1).softmax(1).mean(0)
    reverse = (log_prior.exp() * (log_prior - mean.log())).sum()
    ours = pmsn([A], B, prototypes, sinkhorn_iterations=3, prior=0.0) + reverse
    return ours, lightly.PMSNLoss()(A, B, prototypes)


def authors_vicregl():
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(16, 3, 3, 4, generator=generator, dtype=torch.float64) for _ in range(2)]
    places = [torch.rand(16, 3, 3, 2, generator=generator, dtype=torch.float64) for _ in range(2)]
    options = {"alpha": 0.75, "num_matches": (4, 4), "invariance": 25.0, "variance": 25.0, "covariance": 1.0}
    ours = vicregl([A, B], maps, places, **options, map_order=True)
    theirs = cases.vicregl.plain([A, B], maps, places, **options, global_views=2, map_order=True)
    return ours, torch.tensor(float(theirs), dtype=torch.float64)


# the first column of the table -> our value and theirs
CASES = {
    "lightly NTXentLoss()": lambda: (nt_xent(A, B, temperature=0.5), lightly.NTXentLoss()(A, B)),
    "lightly BarlowTwinsLoss()": lambda: (barlow_twins(A, B, redundancy=5e-3), lightly.BarlowTwinsLoss()(A, B)),
    "lightly NegativeCosineSimilarity()": lambda: (
        negative_cosine_similarity(A, B, stop_gradient=False),
        lightly.NegativeCosineSimilarity()(A, B),
    ),
    "lightly MMCRLoss()": lightly_mmcr,
    "lightly TiCoLoss()": lambda: [torch.stack(values) for values in zip(*lightly_tico())],
    "lightly PMSNLoss()": lightly_pmsn,
    "solo-learn simclr_loss_func": lambda: (nt_xent(A, B, temperature=0.1), contrastive(A, B, 0.1, "mean")),
    "solo-learn mocov2plus_loss_func": lambda: (
        info_nce(A, B, A.flip(0) + 1, temperature=0.1),
        F.cross_entropy(
            torch.cat([(unit(A) * unit(B)).sum(1, keepdim=True), unit(A) @ unit(A.flip(0) + 1).T], 1) / 0.1,
            torch.zeros(len(A), dtype=torch.long),
        ),
    ),
    "solo-learn mocov3_loss_func": lambda: (
        moco_v3(A, B, A + B, A - B, temperature=0.2),
        0.4 * cross_entropy(A, A - B, 0.2) + 0.4 * cross_entropy(B, A + B, 0.2),
    ),
    "solo-learn byol_loss_func": lambda: (
        2 + 2 * negative_cosine_similarity(A, B),
        2 - 2 * (unit(A) * unit(B)).sum(1).mean(),
    ),
    "solo-learn barlow_loss_func": lambda: (
        0.025 * barlow_twins(A, B, redundancy=5e-3),
        0.025 * correlation_loss(A, B, 5e-3),
    ),
    "solo-learn vicreg_loss_func": lambda: (vicreg(A, B, variance=50.0), solo_vicreg(A, B)),
    "pytorch-metric-learning NTXentLoss()": lambda: (
        nt_xent(A, B, temperature=0.07),
        contrastive(A, B, 0.07, "mean"),
    ),
    "pytorch-metric-learning SupConLoss()": lambda: (
        supcon([A], LABELS, temperature=0.1) * 16 / 14,
        class_terms(A, LABELS, 0.1).nanmean(),
    ),
    "authors' SimCLR": lambda: (2 * nt_xent(A, B), contrastive(A, B, 0.1, "sum")),
    "authors' BYOL": lambda: (
        4 + 4 * negative_cosine_similarity([A, B], [A + B, A - B]),
        (unit(A) - unit(A - B)).square().sum(1).mean() + (unit(B) - unit(A + B)).square().sum(1).mean(),
    ),
    "authors' Barlow Twins": lambda: (barlow_twins(A, B) / 32, correlation_loss(A, B, 0.0051) / 32),
    "authors' SupCon": lambda: (
        supcon([A], LABELS, temperature=0.1) * 0.1 / 0.07,
        class_terms(A, LABELS, 0.1).nan_to_num().mean() * 0.1 / 0.07,
    ),
    "authors' VICRegL": authors_vicregl,
}


@pytest.mark.filterwarnings("ignore:To copy construct from a tensor")  # lightly's PMSN
@pytest.mark.parametrize("line", CASES)
def test_line_of_the_table_makes_both_equal(line):
    ours, theirs = CASES[line]()
    torch.testing.assert_close(ours, theirs.to(ours.dtype), rtol=1e-6, atol=1e-7)  # lightly sums some terms in float32


def test_table_has_these_lines():
    text = README.read_text()
    section = text[text.index("Coming from another library\n") : text.index("Losses with state\n-")]
    assert re.findall(r"^   \* - (.*)$", section, re.MULTILINE) == ["theirs", *CASES]


def test_tico_holds_the_covariance_constant_as_lightly_does():
    """Oracle: lightly 1.6, the gradient."""
    z, other = A.clone().requires_grad_(), A.clone().requires_grad_()
    (ours,) = torch.autograd.grad(tico(z, B, 0.1 * unit(A).T @ unit(A) / len(A), momentum=1.0), z)
    (theirs,) = torch.autograd.grad(lightly.TiCoLoss()(other, B), other)
    torch.testing.assert_close(ours, theirs)
