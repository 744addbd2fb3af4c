import math

import torch
from contract import Case


def nuclear_norm(matrix):
    """The sum of the roots of the eigenvalues of MᵀM or MMᵀ, whichever is smaller."""
    gram = matrix.T @ matrix if len(matrix) > matrix.shape[1] else matrix @ matrix.T
    return sum(math.sqrt(max(0.0, float(value))) for value in torch.linalg.eigvalsh(gram))


def plain(*views, compression):
    """Minus the nuclear norm of the centroids, plus the mean of those of each sample's views."""
    samples = [torch.stack([z[i] / z[i].norm() for z in views]) for i in range(len(views[0]))]
    centroids = torch.stack([sample.mean(0) for sample in samples])
    own = sum(nuclear_norm(sample) for sample in samples) / len(samples)
    return compression * own - nuclear_norm(centroids)


CASE = Case(
    plain,
    options={"compression": 0.5},
    arguments=lambda embed, part: (embed(0), embed(1), embed(2)),
    invariances=frozenset({"order", "swap", "scale", "rotation"}),
)
