import math

from contract import Case


def plain(r1, r2, dim, temperature):
    """Both directions of -log softmax of the own row among the other view's, of the first dimensions."""
    a, b = ([row[:dim] / row[:dim].norm() for row in r] for r in (r1, r2))
    total = 0.0
    for queries, keys in ((a, b), (b, a)):
        for i, query in enumerate(queries):
            similarities = [math.exp(float(query @ key) / temperature) for key in keys]
            total -= math.log(similarities[i] / sum(similarities)) / 2
    return total / len(a)


CASE = Case(
    plain,
    options={"dim": 3, "temperature": 0.1},
    invariances=frozenset({"order", "swap", "scale"}),
    needs="at least 2 samples, got 1",
)
