from statistics import NormalDist

import torch
from contract import Case

from ssl_losses.components.directions import random_directions


def next_state(state, *views, **options):
    return {"slices.step": state["slices.step"] + 1}


def plain(*views, state, num_slices, regularization, scale, shape, center, global_views, seed):
    """Each view's deviations, means and sorted slices, one after another; the deviation that standardises is a constant."""
    n, d = views[0].shape
    centroid = sum(views[:global_views]) / global_views
    distance = sum(((z - centroid) ** 2).sum() for z in views) / (len(views) * n * d)
    directions = random_directions(d, num_slices, seed, state["slices.step"]).double()
    quantiles = torch.tensor([NormalDist().inv_cdf(i / (n + 1)) for i in range(1, n + 1)], dtype=torch.float64)
    total = 0.0
    for z in views:
        mean, deviation = z.mean(0), z.std(0, correction=0)
        standard = (z - mean) / deviation.detach()
        seen = [sum((standard @ a).sort().values.sub(quantiles) ** 2) / n for a in directions.T]
        total += scale * ((1 - deviation) ** 2).sum() / d
        total += shape * sum(seen) / num_slices
        total += center * (mean**2).sum() / d
    return (1 - regularization) * distance + regularization * total / len(views)


CASE = Case(
    plain,
    options={
        "num_slices": 7, "regularization": 0.7, "scale": 2.0, "shape": 3.0, "center": 0.5, "global_views": 2, "seed": 4,
    },
    arguments=lambda embed, part: (embed(0), embed(1), embed(2)),
    detaches=True,
    needs="at least 2 samples, got 1",
    next_state=next_state,
)  # fmt: skip
