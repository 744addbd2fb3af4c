import torch
from contract import Case


def plain(a, b, redundancy):
    """(1 - C_ii)^2 and redundancy * C_ij^2, one entry after another, of embeddings standardised with epsilon 1e-5."""
    n, d = a.shape
    a, b = ((z - z.mean(0)) / torch.sqrt(z.var(0, correction=0) + 1e-5) for z in (a, b))
    total = 0.0
    for i in range(d):
        for j in range(d):
            c = float((a[:, i] * b[:, j]).sum() / n)
            total += (1 - c) ** 2 if i == j else redundancy * c**2
    return total


CASE = Case(
    plain,
    options={"redundancy": 0.01},
    invariances=frozenset({"order", "swap"}),
    needs="at least 2 samples, got 1",
)
