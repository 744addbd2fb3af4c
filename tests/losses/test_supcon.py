"""SupCon beyond the contract."""

import math

import pytest
import torch
from views import pair

from ssl_losses import nt_xent, supcon


def test_label_for_each_sample_makes_it_nt_xent():
    a, b = pair()
    assert supcon([a, b], torch.arange(16)).item() == pytest.approx(nt_xent(a, b).item(), rel=1e-10)


def test_value_equals_manual_calculation():
    """One class of four that agree, its three others all positives: log 3, whatever the temperature."""
    z = torch.ones(4, 3, dtype=torch.float64)
    assert supcon([z], torch.zeros(4, dtype=torch.int64), 0.01).item() == pytest.approx(math.log(3))


def test_labels_are_names_not_numbers():
    a, b = pair()
    labels = torch.arange(16) % 3
    renamed = torch.tensor([10**12, -7, 3])[labels]
    assert torch.equal(supcon([a, b], labels), supcon([a, b], renamed))


def test_embedding_without_a_positive_adds_nothing():
    """One view, a pair and a sample alone: the mean over three of which one is 0."""
    z = torch.eye(4, dtype=torch.float64)[[0, 0, 1]]
    pair_alone = math.log(math.e + 1) - 1
    assert supcon([z], torch.tensor([0, 0, 1]), 1.0).item() == pytest.approx(2 * pair_alone / 3)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.zeros(15, dtype=torch.int64), r"one for each of the N=16 samples, got shape \(15,\)"),
        (torch.zeros(16, 1, dtype=torch.int64), r"one for each of the N=16 samples, got shape \(16, 1\)"),
        (torch.zeros(16), r"labels must be integers, got torch\.float32; labels\.long\(\)"),
    ],
)
def test_wrong_labels_raise(labels, message):
    with pytest.raises(ValueError, match=message):
        supcon(pair(), labels)
