import torch
from contract import WIDTH, Case


def unit(z):
    return z / z.norm(dim=1, keepdim=True)


def plain(anchors, target, state, temperature, target_sharpening, mean_entropy, **_):
    """The authors' steps: assignments, sharpened and balanced targets, cross-entropy, entropy of the mean assignment."""
    prototypes = unit(state["prototypes"])
    p = torch.softmax(unit(torch.cat(anchors)) @ prototypes.T / temperature, 1)
    with torch.no_grad():
        q = torch.softmax(unit(target) @ prototypes.T / temperature, 1) ** (1 / target_sharpening)
        q = q / q.sum(1, keepdim=True)
        for _ in range(3):
            q = q / q.sum(0, keepdim=True)
            q = q / q.sum(1, keepdim=True)
    entropy = -(torch.cat([q] * len(anchors)) * p.log()).sum(1).mean()
    mean = p.mean(0)
    return entropy + mean_entropy * (torch.tensor(float(len(mean))).double().log() + (mean * mean.log()).sum())


CASE = Case(
    plain,
    options={
        "num_prototypes": 7,
        "dimensions": WIDTH,
        "temperature": 0.3,
        "target_sharpening": 0.4,
        "mean_entropy": 2.0,
    },
    arguments=lambda embed, part: ([embed(0), embed(1)], embed(2)),
    targets=frozenset({2}),
    detaches=True,  # the target's assignments, which depend on the prototypes
    invariances=frozenset({"order", "scale"}),
)
