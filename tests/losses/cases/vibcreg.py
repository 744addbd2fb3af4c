import math

from contract import Case


def plain(*views, invariance, variance, covariance):
    """VICReg's distances and hinges, and the squared correlations of all pairs of dimensions, one entry after another."""
    n, d = views[0].shape
    pairs = [(a, b) for i, a in enumerate(views) for b in views[i + 1 :]]
    distance = sum(float(((a - b) ** 2).sum()) / (n * d) for a, b in pairs) / len(pairs)
    spread, shared = 0.0, 0.0
    for z in views:
        z = z - z.mean(0)
        for i in range(d):
            spread += max(0.0, 1 - math.sqrt(float((z[:, i] ** 2).sum()) / (n - 1) + 1e-4)) / d
            for j in range(d):
                if j != i:
                    shared += float(z[:, i] @ z[:, j] / (z[:, i].norm() * z[:, j].norm())) ** 2 / d**2
    return invariance * distance + (variance * spread + covariance * shared) * 2 / len(views)


CASE = Case(
    plain,
    options={"invariance": 20.0, "variance": 30.0, "covariance": 100.0},
    arguments=lambda embed, part: (embed(0), embed(1), embed(2)),
    invariances=frozenset({"order", "swap"}),
    needs="at least 2 samples, got 1",
)
