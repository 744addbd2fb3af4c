import math

import torch
from contract import SAMPLES, Case


def plain(views, labels, temperature):
    """L_out, one anchor and one positive after another: all views with the anchor's label, but not itself."""
    z = [row / row.norm() for view in views for row in view]
    classes = [int(label) for _ in views for label in labels]
    total = 0.0
    for i, row in enumerate(z):
        positives = [k for k in range(len(z)) if k != i and classes[k] == classes[i]]
        others = sum(math.exp(float(row @ z[k]) / temperature) for k in range(len(z)) if k != i)
        for k in positives:
            total -= math.log(math.exp(float(row @ z[k]) / temperature) / others) / len(positives)
    return total / len(z)


def arguments(embed, part):
    """Three views; classes of different sizes, one of them with one sample alone, and none with the number 0."""
    return [embed(0), embed(1), embed(2)], (torch.arange(SAMPLES)[part] % 6).clamp(min=2) - 5


CASE = Case(
    plain,
    options={"temperature": 0.2},
    arguments=arguments,
    invariances=frozenset({"order", "scale", "rotation"}),
)
