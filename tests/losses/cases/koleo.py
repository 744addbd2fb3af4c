import math

from contract import Case


def plain(*views):
    """Minus the mean logarithm of the distance to the nearest other row of the view."""
    total = 0.0
    for view in views:
        z = [row / row.norm() for row in view]
        for i, row in enumerate(z):
            total -= math.log(min(float((row - other).norm()) for k, other in enumerate(z) if k != i)) / len(z)
    return total / len(views)


CASE = Case(
    plain,
    invariances=frozenset({"order", "swap", "scale", "rotation"}),
    needs="at least 2 samples, got 1",
)
