"""Where torchmetrics and scikit-learn follow other conventions, as the docstrings state them."""

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score
from torchmetrics.functional.classification import multiclass_auroc, multiclass_calibration_error
from torchmetrics.retrieval import RetrievalMAP

from ssl_eval import auroc, reliability, retrieval


def test_edge_of_two_bins_belongs_to_the_lower_one():
    confidence = torch.tensor([0.6, 0.75, 0.75, 0.9])
    probabilities, labels = torch.stack([confidence, 1 - confidence], 1), torch.tensor([0, 1, 0, 0])
    ours = reliability(probabilities, labels, bins=4)
    assert ours.count.tolist() == [0, 0, 3, 1]
    right, mean = calibration_curve(labels == 0, confidence, n_bins=4)
    np.testing.assert_allclose(ours.accuracy[2:], right)
    np.testing.assert_allclose(ours.confidence[2:], mean)
    theirs = multiclass_calibration_error(probabilities, labels, num_classes=2, n_bins=4)
    assert float(theirs) == pytest.approx((1 * abs(1 - 0.6) + 3 * abs(2 / 3 - 0.8)) / 4)  # one of four in the lower bin
    assert ours.expected_error == pytest.approx((3 * abs(2 / 3 - 0.7) + 1 * abs(1 - 0.9)) / 4)
    away = (probabilities + torch.tensor([-0.01, 0.01]), labels)  # from the edge: all three agree
    assert reliability(*away, bins=4).expected_error == pytest.approx(
        float(multiclass_calibration_error(*away, num_classes=2, n_bins=4))
    )


@pytest.mark.filterwarnings("ignore:No positive class found")
def test_query_without_a_positive_is_left_out():
    features = torch.nn.functional.normalize(torch.rand(7, 3, generator=torch.Generator().manual_seed(0)))
    labels = torch.tensor([0, 0, 1, 1, 1, 2, 3])  # classes 2 and 3 have one image
    others = ~torch.eye(7, dtype=torch.bool)
    similarity, same = (features @ features.T)[others], (labels[:, None] == labels)[others]
    query = torch.arange(7)[:, None].expand(7, 7)[others]
    found = retrieval(features, labels, ks=(1,))
    assert found.queries == 5
    skipping, default = RetrievalMAP(empty_target_action="skip"), RetrievalMAP()
    assert found.mean_average_precision == pytest.approx(float(skipping(similarity, same, indexes=query)))
    assert float(default(similarity, same, indexes=query)) == pytest.approx(5 / 7 * found.mean_average_precision)
    assert average_precision_score(same[-6:], similarity[-6:]) == 0


@pytest.mark.filterwarnings("ignore:No positive samples")
def test_absent_class_counts_as_zero_for_torchmetrics():
    labels = torch.arange(30) % 3
    scores = torch.rand(30, 4, generator=torch.Generator().manual_seed(0)).softmax(1)
    assert float(multiclass_auroc(scores, labels, num_classes=4)) == pytest.approx(3 / 4 * auroc(scores, labels))
    assert float(multiclass_auroc(scores[:, :3].softmax(1), labels, num_classes=3)) == pytest.approx(
        auroc(scores[:, :3].softmax(1), labels)
    )
