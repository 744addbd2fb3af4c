import math

import torch
from contract import SAMPLES, WIDTH, Case, rows


def prepare(loss):
    """The features of a first pass over the data, without the last sample, clustered."""
    for view, memory in enumerate(loss.memory):
        memory[:-1] = torch.nn.functional.normalize(rows(view, WIDTH)[:-1])
    loss.cluster(generator=torch.Generator().manual_seed(0))


def plain(indices, *views, state, temperature, **_):
    """Cross-entropy with the cluster of the sample, over clusterings, views and the samples that have one."""
    entropies = []
    for centroids, assignments in zip(state["prototypes"], state["assignments"]):
        for z in views:
            for index, row in zip(indices, z):
                label = int(assignments[index])
                if label >= 0:
                    scores = [float(row @ c) / float(row.norm()) / temperature for c in centroids]
                    entropies.append(math.log(sum(math.exp(score) for score in scores)) - scores[label])
    return sum(entropies) / len(entropies)


def next_state(state, indices, *views, **_):
    memory = state["memory"].clone()
    for kept, z in zip(memory, views):
        for index, row in zip(indices, z):
            kept[index] = row / row.norm()
    return {"memory": memory, "prototypes": state["prototypes"], "assignments": state["assignments"]}


CASE = Case(
    plain,
    options={
        "num_samples": SAMPLES,
        "dimensions": WIDTH,
        "num_prototypes": 4,
        "num_clusterings": 3,
        "temperature": 0.3,
        "global_views": 2,
    },
    # the third view is local
    arguments=lambda embed, part: (torch.arange(SAMPLES)[part], embed(0), embed(1), embed(2)),
    invariances=frozenset({"order", "scale"}),
    next_state=next_state,
    prepare=prepare,
)
