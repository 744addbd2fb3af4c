import math

from contract import Case


def plain(*views, invariance, variance, covariance):
    """The paper's three terms, one entry after another; the mean over pairs of views for the first."""
    n, d = views[0].shape
    pairs = [(a, b) for i, a in enumerate(views) for b in views[i + 1 :]]
    distance = sum(float(((a - b) ** 2).sum()) / (n * d) for a, b in pairs) / len(pairs)
    spread, shared = 0.0, 0.0
    for z in views:
        z = z - z.mean(0)
        for i in range(d):
            spread += max(0.0, 1 - math.sqrt(float((z[:, i] ** 2).sum()) / (n - 1) + 1e-4)) / d
            shared += sum((float((z[:, i] * z[:, j]).sum()) / (n - 1)) ** 2 for j in range(d) if j != i) / d
    return invariance * distance + variance * spread / len(views) + covariance * 2 * shared / len(views)


CASE = Case(
    plain,
    options={"invariance": 20.0, "variance": 30.0, "covariance": 2.0},
    arguments=lambda embed, part: (embed(0), embed(1), embed(2)),
    invariances=frozenset({"order", "swap"}),
    needs="at least 2 samples, got 1",
)
