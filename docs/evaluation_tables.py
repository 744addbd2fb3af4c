"""Tables of the evaluation page: what each protocol computes, its keys, and the metrics of the registry."""

import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from dataclass_keys import comments, keys_of

import ssl_eval
from ssl_core.config.dense import DenseEvaluation
from ssl_core.config.fine_tuning import FineTuning
from ssl_core.config.landmarks import Landmarks
from ssl_core.config.robustness import Corruptions, Shifts
from ssl_core.config.transfer import Transfer
from ssl_core.config.zero_shot import ZeroShot
from ssl_eval import Protocol
from ssl_eval.metrics.registry import METRICS, readable
from ssl_launch.commands.evaluate import EvaluationConfig

CONFIGS = Path(__file__).parents[1] / "runs/configs/eval"
PROTOCOLS = ("standard", "full", "finetune")
# Metric of the registry -> the function of ssl_eval that computes it; the others come from training or from other programs
COMPUTED_BY = {
    "knn": "knn", "linear": "linear_probe", "ridge": "ridge_probe", "class_means": "nearest_class_mean",
    "balanced_accuracy": "balanced_accuracy", "auroc": "auroc", "recall": "retrieval", "mean_average_precision": "retrieval",
    "zero_shot": "zero_shot", "map": "landmark_retrieval", "mean_precision": "landmark_retrieval",
    "mean_iou": "mean_iou", "delta1": "depth_errors", "rmse": "depth_errors", "abs_rel": "depth_errors",
    "cluster_accuracy": "cluster_accuracy", "cluster_nmi": "normalized_mutual_information",
    "cluster_ari": "adjusted_rand_index", "ood_auroc": "ood_detection", "ood_fpr95": "ood_detection",
    "ood_aupr_out": "ood_detection", "ood_aupr_in": "ood_detection", "corruption_error": "corruption_error",
    "corruption_mce": "corruption_error", "corruption_relative_mce": "corruption_error",
    "ece": "reliability", "mce": "reliability", "rankme": "rankme", "lidar": "lidar",
    "alpha_req": "alpha_req", "nesum": "nesum", "stable_rank": "stable_rank", "alignment": "alignment",
    "uniformity": "uniformity",
}  # fmt: skip
DIRECTIONS = {True: "higher", False: "lower"}


def evaluation_tables() -> Iterator[tuple[str, str]]:
    """Yield the parts that ``evaluation.rst`` includes."""
    yield "tables/protocols", protocol_table()
    yield "tables/evaluation_keys", keys_of(EvaluationConfig)
    yield "tables/protocol_keys", keys_of(Protocol, "eval")
    yield "tables/fine_tuning_keys", keys_of(FineTuning, "eval.finetune")
    yield "tables/corruption_keys", keys_of(Corruptions, "eval.corruptions") + keys_of(Shifts, "eval.shifts")
    yield "tables/transfer_keys", keys_of(Transfer, "eval.transfer")
    yield "tables/dense_keys", keys_of(DenseEvaluation, "eval.dense")
    yield "tables/zero_shot_keys", keys_of(ZeroShot, "eval.zero_shot")
    yield "tables/landmark_keys", keys_of(Landmarks, "eval.landmarks")
    yield "tables/metrics", metric_table()


def protocol(name: str) -> dict[str, Any]:
    """Return the keys of a protocol file, with those of the file that it extends."""
    given = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    bases = [base for base in given.pop("defaults", []) if base != "_self_"]
    return {key: value for base in bases for key, value in protocol(base).items()} | given


def protocol_table() -> str:
    """Return a table with a row for each key of :class:`ssl_eval.Protocol` and a column for each file of ``configs/eval``."""
    settings = [dataclasses.asdict(Protocol()) | protocol(name) for name in PROTOCOLS]
    rows = [
        [f"``{key}``", comment, *(_value(given[key]) for given in settings)]
        for key, comment in comments(Protocol).items()
        if key not in ("name", "seed", "temperature", "draws", "uniformity_samples", "ood_k")
    ]
    tuned = "backbone and classifier are trained on shares of the labels"
    rows.append(["``finetune``", tuned, *("yes" if "finetune" in given else "–" for given in settings)])
    return _list_table(["key", "what is computed", *PROTOCOLS], rows, "14 50 12 14 10")


def metric_table() -> str:
    """Return a table of the metrics that :func:`ssl_eval.evaluate_features` writes."""
    rows = []
    for metric in METRICS:
        if metric.name in COMPUTED_BY:
            function = COMPUTED_BY[metric.name]
            what = (inspect.getdoc(getattr(ssl_eval, function)) or "").split("\n\n")[0].replace("\n", " ")
            unit = "percent" if metric.percent else "number"
            better = "near 1" if metric.name == "alpha_req" else DIRECTIONS[metric.higher_is_better]
            named = readable(metric.name).rstrip(", ")  # without the data set of OOD AUROC
            rows.append(
                [f"``{metric.name}``", named, f"{metric.kind}, {unit}", better, f":func:`ssl_eval.{function}`. {what}"]
            )
    return _list_table(["name", "in tables", "kind, unit", "better", "function"], rows, "16 14 14 8 48")


def _value(value: Any) -> str:
    """Return the value of a key as a cell."""
    if isinstance(value, bool):
        return "yes" if value else "–"
    if isinstance(value, list):
        return ", ".join(f"{100 * each:g}\u00a0%" if 0 < each < 1 else f"{each}" for each in value) or "–"
    return f"{value:,}" if value else "–"


def _list_table(head: list[str], rows: list[list[str]], widths: str) -> str:
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for row in [head, *rows]:
        lines += [f"   {'*' if k == 0 else ' '} - {cell}" for k, cell in enumerate(row)]
    return "\n".join(lines) + "\n"
