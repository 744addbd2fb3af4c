"""Names of metrics: those that evaluations write, ``<dataset>/<metric>`` or the metric alone, and how they are printed.

:mod:`ssl_eval.evaluate` takes its names from here, so that tables and figures know them.
"""

import re

MEAN_AVERAGE_PRECISION = "mean_average_precision"
CLUSTER_NMI, CLUSTER_ARI, CLUSTER_ACCURACY = "cluster_nmi", "cluster_ari", "cluster_accuracy"
ECE = "ece"
# What a name begins with whose value is a fraction in 0..1 of hits, the higher the better; in the order of a table.
ACCURACIES = (
    "accuracy",
    "knn",
    "linear",
    "probe",
    "sgd",
    "ridge",
    "nearest_class_mean",
    "class_means",
    "few_shot",
    "fine_tuning",
    "balanced_accuracy",
    "top",
    "recall",
    MEAN_AVERAGE_PRECISION,
    "map",
    CLUSTER_ACCURACY,
)
# Other names whose values are printed in percent.
PERCENTAGES = (CLUSTER_NMI, "nmi", CLUSTER_ARI, "ari", ECE, "mce")
LABEL_FREE = ("rankme", "lidar", "alpha_req", "nesum", "stable_rank", "alignment", "uniformity")
OF_VIEWS = ("lidar", "alignment")  # of these the ones that compare the views of an image
_WORDS = {
    "accuracy": "prediction",
    "knn": "kNN",
    "linear": "linear probe",
    "probe": "linear probe",
    "sgd": "SGD probe",
    "ridge": "ridge probe",
    "nearest_class_mean": "nearest class mean",
    "class_means": "nearest class mean",
    "few_shot": "few labels",
    "fine_tuning": "fine-tuning",
    MEAN_AVERAGE_PRECISION: "mAP",
    "map": "mAP",
    ECE: "ECE",
    "mce": "MCE",
    CLUSTER_NMI: "NMI",
    "nmi": "NMI",
    CLUSTER_ARI: "ARI",
    "ari": "ARI",
    "rankme": "RankMe",
    "lidar": "LiDAR",
    "alpha_req": "α-ReQ",
    "nesum": "NESum",
}
# Of a name behind its kind; in this order, so that none meets what another has written.
_PARTS = ((" labels", " labels a class"), (" percent", " % of labels"), ("top", "top-"), ("sgd", "SGD"))


def is_accuracy(name: str) -> bool:
    """Return whether the value is a fraction in 0..1, of hits among samples."""
    dataset, _, metric = name.rpartition("/")
    return dataset != "train" and _kind(metric) in ACCURACIES and not metric.endswith("loss")


def is_percentage(name: str) -> bool:
    """Return whether the value is printed in percent: an accuracy, or another fraction such as ECE, NMI and ARI."""
    dataset, _, metric = name.rpartition("/")
    return is_accuracy(name) or (dataset != "train" and _kind(metric) in PERCENTAGES)


def is_label_free(name: str) -> bool:
    """Return whether the value measures the features without their labels."""
    dataset, _, metric = name.rpartition("/")
    return dataset != "train" and _kind(metric) in LABEL_FREE


def readable(name: str, datasets: int = 1) -> str:
    """Return ``kNN`` for ``digits/knn``; with several data sets ``digits: kNN``.

    Examples
    --------
    >>> readable("knn_20"), readable("linear_1_percent"), readable("digits/probe_backbone"), readable("cifar/rankme", 2)
    ('kNN (k=20)', 'linear probe, 1 % of labels', 'linear probe, backbone', 'cifar: RankMe')
    >>> readable("linear_top5"), readable("linear_5_labels"), readable("linear_sgd"), readable("class_means")
    ('linear probe, top-5', 'linear probe, 5 labels a class', 'linear probe, SGD', 'nearest class mean')
    """
    dataset, _, metric = name.rpartition("/")
    kind = _kind(metric)
    rest = metric.removeprefix(kind).strip("_").replace("_", " ")
    words = _WORDS.get(kind, kind.replace("_", " "))
    if rest.isdigit():
        words = f"{words} (k={rest})" if kind == "knn" else f"{words}@{rest}" if kind == "recall" else f"{words}-{rest}"
    elif rest:
        for written, meant in _PARTS:
            rest = rest.replace(written, meant)
        words += f", {rest}"
    return f"{dataset}: {words}" if datasets > 1 else words


def in_order(names: set[str]) -> list[str]:
    """Return names by data set: accuracies in their order, other percentages, what needs no labels, then all others."""
    kinds = (*ACCURACIES, *PERCENTAGES, *LABEL_FREE)

    def key(name: str) -> tuple[str, int, list[tuple[int, str]]]:
        dataset, _, metric = name.rpartition("/")
        kind = _kind(metric)
        numbers = [(int(part), "") if part.isdigit() else (-1, part) for part in metric.split("_")]
        return dataset, kinds.index(kind) if kind in kinds else len(kinds), numbers

    return sorted(names, key=key)


def _kind(metric: str) -> str:
    """Return the longest known name that ``metric`` is or begins with, before an underscore or a digit; or itself."""
    known = (*ACCURACIES, *PERCENTAGES, *LABEL_FREE, *_WORDS)
    return max((k for k in known if re.fullmatch(rf"{k}([_\d@].*)?", metric)), key=len, default=metric)
