from contract import Case


def plain(a, b, alpha):
    return sum(float((x / x.norm() - y / y.norm()).norm()) ** alpha for x, y in zip(a, b)) / len(a)


CASE = Case(plain, options={"alpha": 3.0}, invariances=frozenset({"order", "swap", "scale", "rotation"}))
