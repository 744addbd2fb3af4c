"""mCE and relative mCE against the paper's formulas, in numpy."""

import numpy as np
import pytest

from ssl_eval import corruption_error

NAMES = ("fog", "snow", "contrast")
RNG = np.random.default_rng(0)
ERRORS, REFERENCE = RNG.uniform(0.3, 0.6, (3, 5)), RNG.uniform(0.6, 0.9, (3, 5))
AS_DICTS = [dict(zip(NAMES, each.tolist())) for each in (ERRORS, REFERENCE)]


def test_mce_equals_formula_of_the_paper():
    """Oracle: equations of section 4 of Hendrycks & Dietterich 2019."""
    found = corruption_error(AS_DICTS[0], 0.2, AS_DICTS[1], 0.45)
    ratios = ERRORS.sum(1) / REFERENCE.sum(1)
    assert found.mean_error == pytest.approx(ERRORS.mean())
    assert list(found.mean_errors.values()) == pytest.approx(ERRORS.mean(1))
    assert list(found.corruption_errors.values()) == pytest.approx(ratios)
    assert found.mce == pytest.approx(ratios.mean())
    assert found.relative_mce == pytest.approx(((ERRORS - 0.2).sum(1) / (REFERENCE - 0.45).sum(1)).mean())


def test_reference_has_an_mce_of_one():
    found = corruption_error(AS_DICTS[1], 0.45, AS_DICTS[1] | {"other": [1.0]}, 0.45)
    assert (found.mce, found.relative_mce) == pytest.approx((1, 1))


def test_without_reference_there_is_no_mce():
    found = corruption_error(AS_DICTS[0])
    assert (found.mce, found.relative_mce, found.corruption_errors) == (None, None, {})


def test_relative_mce_is_missing_if_reference_is_robust():
    assert corruption_error(AS_DICTS[0], 0.2, AS_DICTS[1], 0.75).relative_mce is None


@pytest.mark.parametrize(
    ("errors", "reference", "message"),
    [
        ({}, None, "errors: expected at least one"),
        ({"fog": []}, None, "errors: expected at least one"),
        ({"fog": [0.1]}, {"snow": [0.1]}, "expected 1 errors on 'fog', one for each severity, got 0"),
        ({"fog": [0.1, 0.2]}, {"fog": [0.1]}, "expected 2 errors on 'fog'"),
        ({"fog": [0.1]}, {"fog": [0.0]}, "it makes no error on 'fog'"),
    ],
)
def test_errors_that_cannot_be_compared_raise(errors, reference, message):
    with pytest.raises(ValueError, match=message):
        corruption_error(errors, 0.0, reference)
