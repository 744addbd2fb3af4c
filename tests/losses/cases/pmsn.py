import torch
from contract import WIDTH, Case


def unit(z):
    return z / z.norm(dim=1, keepdim=True)


def plain(anchors, target, state, temperature, target_sharpening, prior, exponent, **_):
    """Assignments, sharpened targets, cross-entropy, divergence of the mean assignment from the power law."""
    prototypes = unit(state["prototypes"])
    p = torch.softmax(unit(torch.cat(anchors)) @ prototypes.T / temperature, 1)
    with torch.no_grad():
        q = torch.softmax(unit(target) @ prototypes.T / temperature, 1) ** (1 / target_sharpening)
        q = q / q.sum(1, keepdim=True)
    entropy = -(torch.cat([q] * len(anchors)) * p.log()).sum(1).mean()
    law = [(k + 1) ** -exponent for k in range(len(prototypes))]
    mean = p.mean(0)
    divergence = sum(m * (m / (share / sum(law))).log() for m, share in zip(mean, law))
    return entropy + prior * divergence


CASE = Case(
    plain,
    options={
        "num_prototypes": 7,
        "dimensions": WIDTH,
        "temperature": 0.3,
        "target_sharpening": 0.4,
        "prior": 2.0,
        "exponent": 0.5,
    },
    arguments=lambda embed, part: ([embed(0), embed(1)], embed(2)),
    targets=frozenset({2}),
    detaches=True,  # the target's assignments, which depend on the prototypes
    invariances=frozenset({"order", "scale"}),
)
