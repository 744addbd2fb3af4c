import torch
from contract import Case


def plain(a, b, whitening_size):
    """Each view whitened by the inverse of the Cholesky factor of its covariance (ridge 1e-3 of the mean variance)."""
    views = []
    for z in (a, b):
        z = z - z.mean(0)
        covariance = z.T @ z / (len(z) - 1)
        ridge = 0.001 * covariance.trace() / len(covariance) * torch.eye(z.shape[1], dtype=z.dtype)
        white = z @ torch.linalg.inv(torch.linalg.cholesky(0.999 * covariance + ridge)).T
        views.append(white / white.norm(dim=1, keepdim=True))
    return float(((views[0] - views[1]) ** 2).sum(1).mean())


CASE = Case(
    plain,
    options={"whitening_size": 12},  # the whole batch, so that the order of its samples does not matter
    invariances=frozenset({"order", "swap", "scale"}),
    needs=r"whitening D=5 dimensions needs more samples than that in a sub-batch, got [13]",
)
