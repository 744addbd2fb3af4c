import torch
from contract import Case


def plain(a, b, temperature, alpha, a_0):
    """The paper's formula, in torch operations for the gradient: temperature and weights are constants."""
    z = torch.stack([row / row.norm() for row in (*a, *b)])
    n, total = len(a), 0.0
    alignment = sum(z[i].detach() @ z[i + n].detach() for i in range(n)) / n
    adapted = temperature * (1 + alpha * (alignment - a_0))
    for i in range(2 * n):
        others = torch.stack([(z[i] @ z[k] / adapted).exp() for k in range(2 * n) if k != i])
        probability = (z[i] @ z[(i + n) % (2 * n)] / adapted).exp() / others.sum()
        total = total - probability.log() / (1 - probability.detach())
    return total / (2 * n)


CASE = Case(
    plain,
    options={"temperature": 0.2, "alpha": 0.7, "a_0": 0.1},
    detaches=True,
    invariances=frozenset({"order", "swap", "scale", "rotation"}),
    needs="at least 2 samples, got 1",
)
