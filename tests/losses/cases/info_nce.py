import math

import torch
from contract import Case


def plain(query, key, temperature, queue_size, state):
    """-log of the share of a query's own key in the sum over it and the queue."""
    total = 0.0
    for q, k in zip(query, key):
        q, k = q / q.norm(), k / k.norm()
        positive = math.exp(float(q @ k) / temperature)
        negatives = sum(math.exp(float(q @ row) / temperature) for row in state["queue.rows"])
        total -= math.log(positive / (positive + negatives))
    return total / len(query)


def next_state(state, query, key, temperature, queue_size):
    """First in, first out."""
    rows = [*state["queue.rows"], *(k / k.norm() for k in key)]
    return {"queue.rows": torch.stack(rows[-queue_size:])}


CASE = Case(
    plain,
    options={"temperature": 0.2, "queue_size": 20},  # neither 12 nor 24 samples divide it, and 24 are more
    targets=frozenset({1}),
    invariances=frozenset({"order", "scale", "rotation"}),
    next_state=next_state,
)
