import math

from contract import Case


def plain(images, texts, logit_scale, state):
    """The mean of two cross-entropies, of each image over the texts and of each text over the images."""
    scale, n, total = math.exp(float(state["log_scale"])), len(images), 0.0
    logits = [[scale * float(x @ y / (x.norm() * y.norm())) for y in texts] for x in images]
    for i in range(n):
        total -= math.log(math.exp(logits[i][i]) / sum(math.exp(logits[i][k]) for k in range(n)))
        total -= math.log(math.exp(logits[i][i]) / sum(math.exp(logits[k][i]) for k in range(n)))
    return total / (2 * n)


CASE = Case(
    plain,
    options={"logit_scale": 5.0},
    invariances=frozenset({"order", "swap", "scale", "rotation"}),
    needs="at least 2 samples, got 1",
)
