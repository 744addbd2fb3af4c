import math

import torch
from contract import Case


def plain(p1, p2, z1, z2, temperature, queue_size, state):
    """The paper's pseudocode with loops: the neighbour of each projection has to find the other view's prediction."""
    support = state["support.rows"]
    if len(support) == 0:
        return 0.0
    total = 0.0
    for z, p in ((z1, p2), (z2, p1)):
        predictions = [row / row.norm() for row in p]
        for i, row in enumerate(z):
            neighbour = min(support, key=lambda other: float((row / row.norm() - other).norm()))
            similarities = [math.exp(float(neighbour @ prediction) / temperature) for prediction in predictions]
            total -= math.log(similarities[i] / sum(similarities)) / 2
    return total / len(p1)


def next_state(state, p1, p2, z1, z2, temperature, queue_size):
    """First in, first out, of the first view's projections."""
    rows = [*state["support.rows"], *(z / z.norm() for z in z1)]
    return {"support.rows": torch.stack(rows[-queue_size:])}


def predictions_and_projections(embed, part):
    return embed(0), embed(1), embed(2), embed(3)


CASE = Case(
    plain,
    options={"temperature": 0.1, "queue_size": 20},
    arguments=predictions_and_projections,
    targets=frozenset({2, 3}),
    invariances=frozenset({"order", "scale", "rotation"}),
    needs="at least 2 samples, got 1",
    next_state=next_state,
)
