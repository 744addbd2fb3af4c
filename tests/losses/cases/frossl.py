import math

import torch
from contract import Case


def plain(*views, invariance):
    """The paper's log of the squared Frobenius norm by the eigenvalues, and each view's distance to the mean view."""
    n, _ = views[0].shape
    normalized = [torch.stack([column / column.norm() for column in z.T], dim=1) for z in views]
    mean = sum(normalized) / len(views)
    total = 0.0
    for z in normalized:
        eigenvalues = torch.linalg.eigvalsh(z.T @ z)
        total += math.log(sum(float(value / eigenvalues.sum()) ** 2 for value in eigenvalues))
        total += invariance * len(views) * sum(float(((row - other) ** 2).sum()) for row, other in zip(z, mean)) / n
    return total


CASE = Case(
    plain,
    options={"invariance": 2.0},
    # wider than the batch is long on any number of ranks, where the products of rows are the smaller matrix
    arguments=lambda embed, part: tuple(embed(view).repeat(1, 5) for view in range(3)),
    invariances=frozenset({"order", "swap", "scale"}),
)
