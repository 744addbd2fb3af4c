"""Names of metrics, as a reader of a table or a figure wants them."""


def is_accuracy(name: str) -> bool:
    """Say whether ``<dataset>/<metric>`` is a fraction in 0..1, of hits among samples."""
    dataset, _, metric = name.partition("/")
    return dataset != "train" and (metric in ("accuracy", "knn") or metric.startswith("probe_"))


def readable(name: str, datasets: int = 1) -> str:
    """Return ``kNN`` for ``digits/knn``; with several data sets ``digits: kNN``."""
    dataset, _, metric = name.rpartition("/")
    words = {"accuracy": "prediction", "knn": "kNN"}.get(metric)
    if words is None:
        kind, _, rest = metric.partition("_")
        words = f"linear probe, {rest.replace('_', ' ')}" if kind == "probe" else metric.replace("_", " ")
    return f"{dataset}: {words}" if datasets > 1 else words


def in_order(names: set[str]) -> list[str]:
    """Return names by data set; the prediction first, then kNN, then the probes, then whatever else there is."""
    first = {"accuracy": 0, "knn": 1}

    def key(name: str) -> tuple[str, int, str]:
        dataset, _, metric = name.rpartition("/")
        return dataset, first.get(metric, 2 if metric.startswith("probe_") else 3), metric

    return sorted(names, key=key)
