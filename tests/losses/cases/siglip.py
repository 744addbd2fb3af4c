import math

from contract import Case


def plain(a, b, logit_scale, logit_bias, state):
    """Minus the log of the sigmoid of each pair's logit, its sign changed where the pair does not belong together."""
    scale, bias = math.exp(float(state["log_scale"])), float(state["logit_bias"])
    total = 0.0
    for i, x in enumerate(a):
        for k, y in enumerate(b):
            logit = scale * float(x @ y / (x.norm() * y.norm())) + bias
            total -= math.log(1 / (1 + math.exp(-logit if i == k else logit)))
    return total / len(a)


CASE = Case(
    plain,
    options={"logit_scale": 5.0, "logit_bias": -3.0},
    invariances=frozenset({"order", "swap", "scale", "rotation"}),
)
