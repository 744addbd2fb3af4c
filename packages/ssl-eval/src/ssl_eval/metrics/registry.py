"""The registry of metrics: kind, printed form, percent and direction of each name that an evaluation writes. Imports no torch.

A name is ``<dataset>/<metric>``, or the metric alone. What follows the registered name is a variant: ``knn_20``,
``linear_1_percent``, ``probe_backbone``. Evaluations write these names; tables, figures and searches read them here.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes
    ----------
    name : str
        As evaluations write it, without data set and variant.
    label : str
        As tables and figures print it.
    kind : {"accuracy", "agreement", "error", "ood", "depth", "label-free", "collapse", "loss", "training", "other"}
        ``accuracy``: a fraction in 0..1 of hits among samples or pixels. ``agreement``: of clusters and classes, at most 1.
        ``error``: of the calibration, in 0..1, or of corrupted images. ``ood``: of the separation of two data sets, in 0..1.
        ``depth``: an error of predicted depth. ``label-free``: of features without their labels. ``collapse``: of the first
        images of an evaluation set. ``training``: a name ``train/...``. ``other``: a name that the registry lacks.
    percent : bool
        Whether the value is printed in percent.
    higher_is_better : bool
        The direction of early stopping, of a search and of the best value; True where neither direction is better.
    number : str
        How a number after the name is printed.
    """

    name: str
    label: str
    kind: str
    percent: bool = False
    higher_is_better: bool = True
    number: str = "-{}"

    @property
    def factor(self) -> int:
        """Factor of the printed value: 100 for percent, else 1."""
        return 100 if self.percent else 1

    def is_better(self, value: float, other: float, margin: float = 0.0) -> bool:
        """Return whether a value is better than another by more than a margin."""
        return (value - other if self.higher_is_better else other - value) > margin


# In the order of a table. Names that this package does not write are those of other programs.
METRICS = (
    Metric("accuracy", "prediction", "accuracy", percent=True),
    Metric("knn", "kNN", "accuracy", percent=True, number=" (k={})"),
    Metric("linear", "linear probe", "accuracy", percent=True),
    Metric("probe", "linear probe", "accuracy", percent=True),
    Metric("sgd", "SGD probe", "accuracy", percent=True),
    Metric("ridge", "ridge probe", "accuracy", percent=True),
    Metric("attentive_probe", "attentive probe", "accuracy", percent=True),
    Metric("multilayer_linear_probe", "multi-layer probe", "accuracy", percent=True),
    Metric("nearest_class_mean", "nearest class mean", "accuracy", percent=True),
    Metric("class_means", "nearest class mean", "accuracy", percent=True),
    Metric("few_shot", "few labels", "accuracy", percent=True),
    Metric("episodic", "episodic few-shot", "accuracy", percent=True),
    Metric("zero_shot", "zero-shot", "accuracy", percent=True),
    Metric("fine_tuning", "fine-tuning", "accuracy", percent=True),
    Metric("balanced_accuracy", "balanced accuracy", "accuracy", percent=True),
    Metric("auroc", "AUROC", "accuracy", percent=True),
    Metric("top", "top", "accuracy", percent=True),
    Metric("recall", "recall", "accuracy", percent=True, number="@{}"),
    Metric("mean_average_precision", "mAP", "accuracy", percent=True),
    Metric("transfer", "transfer", "accuracy", percent=True),
    Metric("shift", "shift", "accuracy", percent=True),
    Metric("map", "mAP", "accuracy", percent=True),
    Metric("mean_precision", "mP", "accuracy", percent=True, number="@{}"),
    Metric("mean_iou", "mIoU", "accuracy", percent=True),
    Metric("pixel_accuracy", "pixel accuracy", "accuracy", percent=True),
    Metric("delta1", "δ1", "accuracy", percent=True),
    Metric("cluster_accuracy", "cluster accuracy", "accuracy", percent=True),
    Metric("cluster_nmi", "NMI", "agreement", percent=True),
    Metric("nmi", "NMI", "agreement", percent=True),
    Metric("cluster_ari", "ARI", "agreement", percent=True),
    Metric("ari", "ARI", "agreement", percent=True),
    Metric("ece", "ECE", "error", percent=True, higher_is_better=False),
    Metric("mce", "MCE", "error", percent=True, higher_is_better=False),
    Metric("corruption_error", "corruption error", "error", percent=True, higher_is_better=False),
    Metric("corruption_mce", "mCE", "error", percent=True, higher_is_better=False),
    Metric("corruption_relative_mce", "relative mCE", "error", percent=True, higher_is_better=False),
    Metric("rmse", "RMSE", "depth", higher_is_better=False),
    Metric("abs_rel", "relative error", "depth", higher_is_better=False),
    Metric("ood_auroc", "OOD AUROC", "ood", percent=True),
    Metric("ood_fpr95", "OOD FPR95", "ood", percent=True, higher_is_better=False),
    Metric("ood_aupr_out", "OOD AUPR out", "ood", percent=True),
    Metric("ood_aupr_in", "OOD AUPR in", "ood", percent=True),
    Metric("rankme", "RankMe", "label-free"),
    Metric("lidar", "LiDAR", "label-free"),
    Metric("alpha_req", "α-ReQ", "label-free"),  # best near 1
    Metric("nesum", "NESum", "label-free"),
    Metric("stable_rank", "stable rank", "label-free"),
    Metric("alignment", "alignment", "label-free", higher_is_better=False),
    Metric("uniformity", "uniformity", "label-free", higher_is_better=False),
    Metric("rank", "effective rank", "collapse"),
    Metric("std", "std", "collapse"),
)
LABEL_FREE = tuple(metric.name for metric in METRICS if metric.kind == "label-free")
OF_VIEWS = ("lidar", "alignment")  # of these the ones that compare the views of an image
# Of a variant, whole words: also data sets are variants, such as "desktop"
_PARTS = (
    (r"(\d) way ", r"\1-way "),
    (r"(\d) shot\b", r"\1-shot"),
    (r"\b1 labels\b", "1 label a class"),
    (r"(\d) labels\b", r"\1 labels a class"),
    (r"(\d) percent\b", r"\1 % of labels"),
    (r"\btop(\d)", r"top-\1"),
    (r"\bsgd\b", "SGD"),
    (r"\bknn\b", "kNN"),
)
_OOD_SCORES = {"knn": "kNN distance", "mahalanobis": "Mahalanobis distance", "max softmax": "maximum softmax"}


@cache
def metric_of(name: str) -> Metric:
    """Return the metric of a name, the longest that it begins with; of kind ``other`` if the registry lacks it.

    A name with ``loss`` after its last slash is a loss: lower is better.

    Examples
    --------
    >>> metric_of("digits/knn_20").kind, metric_of("ece").higher_is_better, metric_of("digits/probe_loss").kind
    ('accuracy', False, 'loss')
    """
    dataset, _, metric = name.rpartition("/")
    if ("loss" in metric and not metric.startswith("ood_")) or dataset == "train":
        is_loss = "loss" in metric
        return Metric(metric, metric.replace("_", " "), "loss" if is_loss else "training", higher_is_better=not is_loss)
    found = [each for each in METRICS if re.fullmatch(rf"{each.name}([_\d@].*)?", metric)]
    return max(found, key=lambda each: len(each.name), default=Metric(metric, metric.replace("_", " "), "other"))


def is_accuracy(name: str) -> bool:
    """Return whether the value is a fraction in 0..1, of hits among samples or pixels."""
    return metric_of(name).kind == "accuracy"


def readable(name: str, datasets: int = 1) -> str:
    """Return ``kNN`` for ``digits/knn``; with several data sets ``digits: kNN``.

    Examples
    --------
    >>> readable("knn_20"), readable("linear_1_percent"), readable("digits/probe_backbone"), readable("cifar/rankme", 2)
    ('kNN (k=20)', 'linear probe, 1 % of labels', 'linear probe, backbone', 'cifar: RankMe')
    >>> readable("linear_top5"), readable("linear_5_labels"), readable("linear_sgd"), readable("class_means")
    ('linear probe, top-5', 'linear probe, 5 labels a class', 'linear probe, SGD', 'nearest class mean')
    >>> readable("recall_5"), readable("mean_precision_10_medium"), readable("map_hard")
    ('recall@5', 'mP@10, medium', 'mAP, hard')
    >>> readable("ood_auroc_svhn_by_knn")
    'OOD AUROC, svhn by kNN distance'
    """
    dataset, _, written = name.rpartition("/")
    metric = metric_of(name)
    variant = written.removeprefix(metric.name).strip("_").replace("_", " ")
    words = metric.label
    number, _, rest = variant.partition(" ")
    if metric.number == "@{}" and number.isdigit():
        words, variant = words + metric.number.format(number), rest
    if metric.kind == "ood":
        other, by, score = variant.rpartition(" by ")
        words += f", {other}{by}{_OOD_SCORES.get(score, score)}"
    elif variant.isdigit():
        words += metric.number.format(variant)
    elif variant:
        for part, meant in _PARTS:
            variant = re.sub(part, meant, variant)
        words += f", {variant}"
    return f"{dataset}: {words}" if datasets > 1 else words


def with_unit(name: str, datasets: int = 1) -> str:
    """Return the label of an axis: the printed form, with ``(%)`` for a metric in percent, in two lines if it has a variant."""
    return (readable(name, datasets) + " (%)" * metric_of(name).percent).replace(", ", ",\n")


def in_order(names: Iterable[str]) -> list[str]:
    """Return names by data set, each set in the order of the registry, names that it lacks last."""
    places = {metric: place for place, metric in enumerate(METRICS)}

    def key(name: str) -> tuple[str, int, list[tuple[int, str]]]:
        dataset, _, metric = name.rpartition("/")
        numbers = [(int(part), "") if part.isdigit() else (-1, part) for part in metric.split("_")]
        return dataset, places.get(metric_of(name), len(places)), numbers

    return sorted(set(names), key=key)


def accuracies(names: Iterable[str]) -> list[str]:
    """Return the accuracies among names, in order. Lists, searches and ``watch`` take the first."""
    return in_order(filter(is_accuracy, names))


def main_accuracy(names: Iterable[str]) -> str | None:
    """Return the accuracy that a report compares by: of a linear probe, else of kNN, else the first; None without one."""
    found = accuracies(names)
    main = [name for kind in ("linear", "probe", "knn") for name in found if metric_of(name).name == kind]
    return next(iter([*main, *found]), None)
