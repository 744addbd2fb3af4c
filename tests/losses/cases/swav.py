import torch
from contract import WIDTH, Case


def unit(z):
    return z / z.norm(dim=1, keepdim=True)


def codes(scores, epsilon):
    """The authors' loop on the matrix itself: prototypes scaled to 1/K, samples to 1/B, three times."""
    q = torch.exp(scores / epsilon).T
    q = q / q.sum()
    for _ in range(3):
        q = q / q.sum(1, keepdim=True) / len(q)
        q = q / q.sum(0, keepdim=True) / q.shape[1]
    return (q * q.shape[1]).T


def plain(*views, state, global_views, temperature, epsilon, **_):
    """Each global view's codes, of queue and batch together, against the predictions of each other view."""
    prototypes = unit(state["prototypes"])
    total = 0.0
    for t in range(global_views):
        with torch.no_grad():
            queue = state[f"queues.{t}.rows"]
            rows = torch.cat([queue, unit(views[t])]) if len(queue) else unit(views[t])
            q = codes(rows @ prototypes.T, epsilon)[-len(views[t]) :]
        for v, z in enumerate(views):
            if v != t:
                p = torch.softmax(unit(z) @ prototypes.T / temperature, 1)
                total = total - (q * p.log()).sum(1).mean() / (len(views) - 1)
    return total / global_views


def next_state(state, *views, global_views, queue_size, **_):
    """The last rows of the global views, normalised."""
    queues = {f"queues.{t}.rows": state[f"queues.{t}.rows"] for t in range(global_views)}
    return {
        key: torch.cat([rows, unit(z)] if len(rows) else [unit(z)])[-queue_size:]
        for (key, rows), z in zip(queues.items(), views)
    }


CASE = Case(
    plain,
    options={
        "num_prototypes": 7,
        "dimensions": WIDTH,
        "global_views": 2,
        "temperature": 0.3,
        "epsilon": 0.2,
        "queue_size": 20,  # less than two batches
    },
    arguments=lambda embed, part: (embed(0), embed(1), embed(2)),  # the third view is local
    detaches=True,  # the codes
    invariances=frozenset({"order", "scale"}),
    next_state=next_state,
)
