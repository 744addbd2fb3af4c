import math

from contract import Case


def plain(*views, t):
    """The logarithm of the mean potential of all pairs, for each view."""
    total = 0.0
    for view in views:
        z = [row / row.norm() for row in view]
        pairs = [(i, k) for i in range(len(z)) for k in range(i)]
        total += math.log(sum(math.exp(-t * float((z[i] - z[k]).norm()) ** 2) for i, k in pairs) / len(pairs))
    return total / len(views)


CASE = Case(
    plain,
    options={"t": 3.0},
    invariances=frozenset({"order", "swap", "scale", "rotation"}),
    needs="at least 2 samples, got 1",
)
