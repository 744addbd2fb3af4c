import math

from contract import Case


def plain(a, b, temperature):
    """Equation 6 without weights: minus the positive, plus the log of the sum over both views of all other samples."""
    z = [row / row.norm() for row in (*a, *b)]
    n, total = len(a), 0.0
    for i, row in enumerate(z):
        positive = float(row @ z[(i + n) % (2 * n)]) / temperature
        others = sum(math.exp(float(row @ other) / temperature) for k, other in enumerate(z) if k % n != i % n)
        total += math.log(others) - positive
    return total / (2 * n)


CASE = Case(
    plain,
    options={"temperature": 0.2},
    invariances=frozenset({"order", "swap", "scale", "rotation"}),
    needs="at least 2 samples, got 1",
)
