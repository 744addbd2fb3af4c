import math

import torch
from contract import SAMPLES, Case

GRIDS = (2, 3), (2, 2), (1, 2)  # two global views and a local one


def arguments(embed, part):
    """Embeddings, maps of the same rolled and scaled, in grids of different sizes, and places of each sample."""
    views, maps, locations = [embed(0), embed(1), embed(2)], [], []
    for view, (h, w) in enumerate(GRIDS):
        cells = [views[(view + k) % 3].roll(k, dims=1) * 0.5**k for k in range(h * w)]  # exact, and no ties
        maps.append(torch.stack(cells, 1).unflatten(1, (h, w)))
        places = torch.rand(SAMPLES, h, w, 2, generator=torch.Generator().manual_seed(view))
        locations.append(places[part])
    return views, maps, locations


def regularizers(rows):
    """The mean hinge of the deviations, and the squared covariances over D, of one side ``(N, D)``."""
    n, d = rows.shape
    rows = rows - rows.mean(0)
    spread = sum(max(0.0, 1 - math.sqrt(float(rows[:, i] @ rows[:, i]) / (n - 1) + 1e-4)) for i in range(d)) / d
    shared = sum((float(rows[:, i] @ rows[:, j]) / (n - 1)) ** 2 for i in range(d) for j in range(d) if i != j) / d
    return spread, shared


def of_matches(a, b, weights):
    """VICReg of paired cells ``(N, M, D)``: regularised at each of the M places by itself."""
    places = [regularizers(side[:, m]) for side in (a, b) for m in range(side.shape[1])]
    distance = float(((a - b) ** 2).mean())
    return sum(w * x for w, x in zip(weights, (distance, *(sum(x) / len(places) for x in zip(*places)))))


def matched(cells, others, features, other_features, kept, map_order):
    """For each image, cell by cell, the nearest in the other map; of these the closest pairs, or these in the map's order."""
    ours, theirs = [], []
    for image in range(len(cells)):
        nearest = []
        for i, feature in enumerate(features[image]):
            distances = [float((feature - other).norm()) for other in other_features[image]]
            nearest.append((min(distances), i, distances.index(min(distances))))
        closest = sorted(nearest)[:kept]
        if map_order:
            closest.sort(key=lambda pair: pair[1])
        ours.append(torch.stack([cells[image, i] for _, i, _ in closest]))
        theirs.append(torch.stack([others[image, j] for _, _, j in closest]))
    return torch.stack(ours), torch.stack(theirs)


def plain(
    embeddings, maps, locations, alpha, num_matches, invariance, variance, covariance, global_views, map_order=False
):
    weights, views = (invariance, variance, covariance), len(embeddings)
    pairs = [(u, v) for u in range(global_views) for v in range(views) if v != u]
    distance = sum(float(((embeddings[u] - embeddings[v]) ** 2).mean()) for u, v in pairs) / len(pairs)
    spread, shared = (sum(term) / views for term in zip(*(regularizers(z) for z in embeddings)))
    whole = invariance * distance + variance * spread + covariance * shared
    cells = [view.flatten(1, 2) for view in maps]
    places = [view.flatten(1, 2) for view in locations]
    local = 0.0
    for u, v in pairs:
        for by in (cells, places):
            for a, b in ((u, v), (v, u)):
                kept = num_matches[0] if a < global_views else num_matches[1]
                local += of_matches(*matched(cells[a], cells[b], by[a], by[b], kept, map_order), weights) / 2
    return alpha * whole + (1 - alpha) * local / len(pairs)


CASE = Case(
    plain,
    options={
        "alpha": 0.6, "num_matches": (3, 1), "invariance": 20.0, "variance": 30.0, "covariance": 2.0, "global_views": 2,
    },
    arguments=arguments,
    needs="at least 2 samples, got 1",
)  # fmt: skip
