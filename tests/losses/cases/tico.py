import torch
from contract import Case


def next_state(state, a, b, dimensions, momentum, contrast):
    """The covariance after the batch: the share ``momentum`` of the past, the rest of the first view's unit rows."""
    rows = [row / row.norm() for row in a]
    present = sum(torch.outer(row, row) for row in rows) / len(rows)
    return {"covariance": momentum * state["covariance"] + (1 - momentum) * present}


def plain(a, b, state, **options):
    """-z1·z2 + ρ z1ᵀ C z1, one sample after another, with this batch's share in C."""
    covariance = next_state(state, a, b, **options)["covariance"]
    total = 0.0
    for x, y in zip(a, b):
        x, y = x / x.norm(), y / y.norm()
        total += float(-(x @ y) + options["contrast"] * (x @ covariance @ x))
    return total / len(a)


CASE = Case(
    plain,
    options={"dimensions": 5, "momentum": 0.8, "contrast": 3.0},
    invariances=frozenset({"order", "scale"}),
    next_state=next_state,
)
