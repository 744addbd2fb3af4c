import cmath
import math

from contract import Case

from ssl_losses.components.directions import random_directions


def next_state(state, *views, **options):
    return {"slices.step": state["slices.step"] + 1}


def plain(*views, state, num_slices, regularization, global_views, num_knots, t_max, seed):
    """|mean of exp(itx) - exp(-t²/2)|² exp(-t²/2) summed over t from -t_max to t_max by trapezoids, for each direction."""
    n, d = views[0].shape
    center = sum(views[:global_views]) / global_views
    distance = sum(float(((z - center) ** 2).sum()) for z in views) / (len(views) * n * d)
    directions = random_directions(d, num_slices, seed, state["slices.step"]).double()
    spacing = t_max / (num_knots - 1)
    statistics = []
    for z in views:
        for direction in directions.T:
            seen = [float(row @ direction) for row in z]
            total = 0.0
            for knot in range(1 - num_knots, num_knots):
                t = knot * spacing
                normal = math.exp(-(t**2) / 2)
                found = sum(cmath.exp(1j * t * x) for x in seen) / n
                end = abs(knot) == num_knots - 1
                total += abs(found - normal) ** 2 * normal * spacing * (0.5 if end else 1.0)
            statistics.append(n * total)
    return (1 - regularization) * distance + regularization * sum(statistics) / len(statistics)


CASE = Case(
    plain,
    options={
        "num_slices": 7, "regularization": 0.3, "global_views": 2, "num_knots": 9, "t_max": 2.5, "seed": 4,
    },
    arguments=lambda embed, part: (embed(0), embed(1), embed(2)),
    next_state=next_state,
)  # fmt: skip
