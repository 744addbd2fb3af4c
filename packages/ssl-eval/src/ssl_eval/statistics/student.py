"""Student's t distribution by quadrature, for intervals and tests of a few repetitions."""

import math

import torch

_INTERVALS = 2000  # of Simpson's rule: its error is below 1e-7 for one degree of freedom and for fractions of it


def student_tail(t: float, freedom: float) -> float:
    """Return the probability that Student's t is above ``t >= 0``, with ``freedom >= 1`` degrees, fractions too.

    With t = sqrt(f) tan(a) the density integrates to that of cos(a) ** (f - 1), over an angle between 0 and a right one.

    Examples
    --------
    >>> round(student_tail(12.706, 1), 4)
    0.025
    """
    angle = math.atan(t / math.sqrt(freedom)) if math.isfinite(t) else math.pi / 2
    norm = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    # The tail itself is summed, from the angle to the right one: half less the rest would lose small probabilities. Counted
    # from the right angle the integrand is sin(b) ** (f - 1), which begins at zero: b = c * c is smooth there.
    roots = torch.linspace(0, math.sqrt(math.pi / 2 - angle), _INTERVALS + 1, dtype=torch.float64)
    values = 2 * roots * (roots**2).sin().pow(freedom - 1)
    weights = torch.tensor([4.0, 2.0], dtype=torch.float64).repeat(_INTERVALS // 2)[:-1]
    step = math.sqrt(math.pi / 2 - angle) / _INTERVALS
    return norm * step / 3 * float(values[0] + values[-1] + (weights * values[1:-1]).sum())


def student_quantile(probability: float, freedom: float) -> float:
    """Return the t that Student's stays below with ``probability``, above 1/2, by bisection.

    Examples
    --------
    >>> round(student_quantile(0.975, 2), 3)
    4.303
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        above = student_tail(math.sqrt(freedom) * math.tan(middle), freedom)
        low, high = (middle, high) if above > 1 - probability else (low, middle)
    return math.sqrt(freedom) * math.tan(low)
