import torch
from contract import Case


def plain(a, b, temperature, sigma):
    """Equation 6, the positives weighted by 2 minus their von Mises-Fisher density over its mean, held constant."""
    z = [row / row.norm() for row in (*a, *b)]
    n, total = len(a), 0.0
    similarities = [z[i] @ z[i + n] for i in range(n)]
    powers = [torch.exp(similarity.detach() / sigma) for similarity in similarities]
    for i, row in enumerate(z):
        weight = 2 - powers[i % n] / (sum(powers) / n)
        others = sum(torch.exp(row @ other / temperature) for k, other in enumerate(z) if k % n != i % n)
        total = total + torch.log(others) - weight * similarities[i % n] / temperature
    return total / (2 * n)


CASE = Case(
    plain,
    options={"temperature": 0.2, "sigma": 0.4},
    detaches=True,
    invariances=frozenset({"order", "swap", "scale", "rotation"}),
    needs="at least 2 samples, got 1",
)
