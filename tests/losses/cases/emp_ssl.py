import math

import torch
from contract import Case


def plain(*views, invariance, distortion):
    """Each view's coding rate by the eigenvalues of I + D / (N ε²) ZᵀZ, and the cosines with the mean view, row by row."""
    n, d = views[0].shape
    normalized = [torch.stack([row / row.norm() for row in z]) for z in views]
    mean = sum(normalized) / len(views)
    total = 0.0
    for z in normalized:
        eigenvalues = torch.linalg.eigvalsh(z.T @ z)
        total -= sum(math.log(1 + d / (n * distortion) * float(value)) for value in eigenvalues) / 2
        total -= invariance * sum(float(row @ m) / float(m.norm()) for row, m in zip(z, mean)) / n
    return total / len(views)


CASE = Case(
    plain,
    options={"invariance": 3.0, "distortion": 0.5},
    arguments=lambda embed, part: (embed(0), embed(1), embed(2)),
    invariances=frozenset({"order", "swap", "scale", "rotation"}),
)
