import math

from contract import Case


def plain(a, b, temperature):
    """-log of the softmax of the other view among all 2N - 1 others, one embedding after another."""
    z = [row / row.norm() for row in (*a, *b)]
    n, total = len(a), 0.0
    for i, row in enumerate(z):
        positive = math.exp(float(row @ z[(i + n) % (2 * n)]) / temperature)
        others = sum(math.exp(float(row @ other) / temperature) for k, other in enumerate(z) if k != i)
        total -= math.log(positive / others)
    return total / (2 * n)


CASE = Case(
    plain,
    options={"temperature": 0.2},
    invariances=frozenset({"order", "swap", "scale", "rotation"}),
    needs="at least 2 samples, got 1",
)
