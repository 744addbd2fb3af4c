from contract import Case


def plain(prediction, target):
    return -sum(float(p @ z) / float(p.norm() * z.norm()) for p, z in zip(prediction, target)) / len(target)


CASE = Case(
    plain,
    targets=frozenset({1}),
    invariances=frozenset({"order", "swap", "scale", "rotation"}),
)
