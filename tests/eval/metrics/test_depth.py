"""Errors of depth, against torchmetrics and the formulas."""

import pytest
import torch

from ssl_eval import DepthCounter, depth_errors

torchmetrics = pytest.importorskip("torchmetrics")


def test_depth_errors_equal_torchmetrics():
    """Oracles: MeanSquaredError(squared=False) and MeanAbsolutePercentageError of torchmetrics on the measured pixels."""
    generator = torch.Generator().manual_seed(0)
    depths = 10 * torch.rand(4, 9, 7, generator=generator, dtype=torch.float64)
    predictions = depths * (1 + 0.3 * torch.randn(depths.shape, generator=generator))
    depths[:, 0], depths[:, 1], depths[:, 2] = 0, torch.nan, torch.inf
    known = depths[:, 3:].reshape(-1), predictions[:, 3:].reshape(-1)
    counter = DepthCounter()
    for part in range(4):
        counter.update(predictions[part], depths[part])
    found = counter.compute()
    rmse = torchmetrics.functional.mean_squared_error(known[1], known[0], squared=False)
    assert found.rmse == pytest.approx(float(rmse))
    relative = torchmetrics.functional.mean_absolute_percentage_error(known[1], known[0])
    assert found.abs_rel == pytest.approx(float(relative))
    ratio = torch.stack([known[1] / known[0], known[0] / known[1]]).amax(0)  # Eigen et al. 2014, section 4.2
    assert found.delta1 == pytest.approx(float((ratio < 1.25).double().mean()))
    assert depth_errors(predictions, depths).rmse == pytest.approx(found.rmse)


def test_negative_prediction_is_never_near():
    assert depth_errors(torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 1.0])).delta1 == 0


@pytest.mark.parametrize(
    ("predictions", "depths", "message"),
    [
        ([1.0], [1.0, 2.0], r"one shape, got \(1,\) and \(2,\)"),
        ([1.0], [0.0], "at least one measured pixel"),
        ([float("nan")], [1.0], "predictions must be finite"),
    ],
)
def test_invalid_depths_are_one_line(predictions, depths, message):
    with pytest.raises(ValueError, match=message):
        depth_errors(torch.tensor(predictions), torch.tensor(depths))
