import math

from contract import Case


def plain(q1, q2, k1, k2, temperature):
    """The paper's pseudocode with loops: 2 τ times the cross-entropy of each query with the other view's keys."""
    total = 0.0
    for queries, keys in ((q1, k2), (q2, k1)):
        units = [key / key.norm() for key in keys]
        for i, query in enumerate(queries):
            similarities = [math.exp(float(query / query.norm() @ key) / temperature) for key in units]
            total -= 2 * temperature * math.log(similarities[i] / sum(similarities))
    return total / len(q1)


def queries_and_keys(embed, part):
    return embed(0), embed(1), embed(2), embed(3)


CASE = Case(
    plain,
    options={"temperature": 0.2},
    arguments=queries_and_keys,
    targets=frozenset({2, 3}),
    invariances=frozenset({"order", "scale", "rotation"}),
    needs="at least 2 samples, got 1",
)
