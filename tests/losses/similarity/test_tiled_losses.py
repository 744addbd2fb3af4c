"""The contrastive losses across tiles: value and gradients of the plain form, which holds the whole matrix, in float64."""

import pytest
import torch
import torch.nn.functional as F
from views import pair

from ssl_losses import clip, dcl, dclw, nt_xent, supcon
from ssl_losses.similarity import tiles

SAMPLES = 16
LABELS = torch.arange(SAMPLES) % 3


def logits_of(a, b, temperature):
    z = F.normalize(torch.cat([a, b]), dim=1)
    return z @ z.T / temperature


def plain_nt_xent(a, b, temperature):
    logits = logits_of(a, b, temperature).masked_fill(torch.eye(2 * SAMPLES, dtype=torch.bool), -torch.inf)
    return F.cross_entropy(logits, torch.arange(2 * SAMPLES).roll(SAMPLES))


def plain_dcl(a, b, temperature):
    logits = logits_of(a, b, temperature)
    negatives = logits.masked_fill(torch.eye(SAMPLES, dtype=torch.bool).repeat(2, 2), -torch.inf).logsumexp(1)
    return (negatives - logits.diagonal(SAMPLES).repeat(2)).mean()


def plain_dclw(a, b, temperature):
    similarities = (F.normalize(a, dim=1) * F.normalize(b, dim=1)).sum(1)
    weights = 2 - SAMPLES * (similarities.detach() / 0.5).softmax(0)
    return plain_dcl(a, b, temperature) + ((1 - weights) * similarities / temperature).mean()


def plain_supcon(a, b, temperature):
    itself = torch.eye(2 * SAMPLES, dtype=torch.bool)
    positives = (LABELS[:, None] == LABELS).repeat(2, 2) & ~itself
    chances = logits_of(a, b, temperature).masked_fill(itself, -torch.inf).log_softmax(1)
    return -(chances.masked_fill(~positives, 0).sum(1) / positives.sum(1)).mean()


def plain_clip(a, b, temperature):
    logits = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / temperature
    labels = torch.arange(SAMPLES)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


LOSSES = {
    "nt_xent": (nt_xent, plain_nt_xent),
    "dcl": (dcl, plain_dcl),
    "dclw": (dclw, plain_dclw),
    "supcon": (lambda a, b, temperature: supcon([a, b], LABELS, temperature), plain_supcon),
    "clip": (lambda a, b, temperature: clip(a, b, logit_scale=1 / temperature), plain_clip),
}


@pytest.mark.parametrize("temperature", [0.1, 0.001])  # powers summed as they are, and with a running maximum
@pytest.mark.parametrize("tile_rows", [5, 16, 512])
@pytest.mark.parametrize("name", LOSSES)
def test_tiles_give_the_plain_forms_gradient(name, tile_rows, temperature, monkeypatch):
    monkeypatch.setitem(tiles.TILE_ROWS, "cpu", tile_rows)
    ours, plain = LOSSES[name]
    inputs = [z.requires_grad_() for z in pair()]
    found, expected = ours(*inputs, temperature), plain(*inputs, temperature)
    assert found.item() == pytest.approx(expected.item(), rel=1e-10)
    mine, theirs = (torch.cat(torch.autograd.grad(value, inputs)) for value in (found, expected))
    assert (mine - theirs).norm() <= 1e-10 * theirs.norm()
