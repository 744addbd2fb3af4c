"""ssl-eval: evaluation of features, and tables and figures from run folders.

Functions on features take ``(N, D)`` tensors of any model and need only torch. Accuracies are fractions in
0..1; tables and figures print them in percent. Names are loaded when they are first used, so that reading a run
folder does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl_eval.evaluate import EvaluationResult, evaluate_features, label_free
    from ssl_eval.features import Features
    from ssl_eval.figures.curves import learning_curves
    from ssl_eval.figures.style import NothingToDraw
    from ssl_eval.metrics.accuracy import AccuracyCounter, accuracy, balanced_accuracy, per_class_accuracy
    from ssl_eval.metrics.auroc import auroc
    from ssl_eval.metrics.calibration import Reliability, reliability
    from ssl_eval.metrics.clustering import (
        adjusted_rand_index,
        best_assignment,
        cluster_accuracy,
        normalized_mutual_information,
    )
    from ssl_eval.metrics.confusion import confusion_matrix, contingency_table
    from ssl_eval.metrics.retrieval import RetrievalResult, retrieval
    from ssl_eval.probes.knn import knn
    from ssl_eval.probes.linear import LinearProbeResult, linear_probe
    from ssl_eval.probes.low_shot import FewShotResult, few_shot
    from ssl_eval.probes.nearest_class_mean import nearest_class_mean
    from ssl_eval.probes.ridge import RidgeProbeResult, ridge_probe
    from ssl_eval.probes.sgd import SGDProbeResult, sgd_probe
    from ssl_eval.protocol import Protocol
    from ssl_eval.report.report import Report, write_report
    from ssl_eval.report.table import Table
    from ssl_eval.representation.alignment_uniformity import alignment, uniformity
    from ssl_eval.representation.kmeans import Clusters, kmeans
    from ssl_eval.representation.projection_2d import principal_components, tsne
    from ssl_eval.representation.spectrum import alpha_req, eigenvalues, lidar, nesum, rankme, stable_rank
    from ssl_eval.results import ProbeResult
    from ssl_eval.runs.evaluation_record import EvaluationRecord
    from ssl_eval.runs.run_record import RunRecord, find_runs
    from ssl_eval.statistics.intervals import PairedTest, bootstrap_interval, mean_interval, paired_test
    from ssl_eval.statistics.rank_correlation import kendall, spearman
    from ssl_eval.statistics.significance import WelchTest, welch_test

_HOME = {
    "AccuracyCounter": "metrics.accuracy",
    "Clusters": "representation.kmeans",
    "EvaluationRecord": "runs.evaluation_record",
    "EvaluationResult": "evaluate",
    "Features": "features",
    "FewShotResult": "probes.low_shot",
    "LinearProbeResult": "probes.linear",
    "NothingToDraw": "figures.style",
    "PairedTest": "statistics.intervals",
    "ProbeResult": "results",
    "Protocol": "protocol",
    "Reliability": "metrics.calibration",
    "Report": "report.report",
    "RetrievalResult": "metrics.retrieval",
    "RidgeProbeResult": "probes.ridge",
    "RunRecord": "runs.run_record",
    "SGDProbeResult": "probes.sgd",
    "Table": "report.table",
    "WelchTest": "statistics.significance",
    "accuracy": "metrics.accuracy",
    "adjusted_rand_index": "metrics.clustering",
    "alignment": "representation.alignment_uniformity",
    "alpha_req": "representation.spectrum",
    "auroc": "metrics.auroc",
    "balanced_accuracy": "metrics.accuracy",
    "best_assignment": "metrics.clustering",
    "bootstrap_interval": "statistics.intervals",
    "cluster_accuracy": "metrics.clustering",
    "confusion_matrix": "metrics.confusion",
    "contingency_table": "metrics.confusion",
    "eigenvalues": "representation.spectrum",
    "few_shot": "probes.low_shot",
    "find_runs": "runs.run_record",
    "evaluate_features": "evaluate",
    "kendall": "statistics.rank_correlation",
    "kmeans": "representation.kmeans",
    "knn": "probes.knn",
    "label_free": "evaluate",
    "learning_curves": "figures.curves",
    "lidar": "representation.spectrum",
    "linear_probe": "probes.linear",
    "mean_interval": "statistics.intervals",
    "nearest_class_mean": "probes.nearest_class_mean",
    "nesum": "representation.spectrum",
    "normalized_mutual_information": "metrics.clustering",
    "paired_test": "statistics.intervals",
    "per_class_accuracy": "metrics.accuracy",
    "principal_components": "representation.projection_2d",
    "rankme": "representation.spectrum",
    "reliability": "metrics.calibration",
    "retrieval": "metrics.retrieval",
    "ridge_probe": "probes.ridge",
    "sgd_probe": "probes.sgd",
    "spearman": "statistics.rank_correlation",
    "stable_rank": "representation.spectrum",
    "tsne": "representation.projection_2d",
    "uniformity": "representation.alignment_uniformity",
    "welch_test": "statistics.significance",
    "write_report": "report.report",
}

__all__ = [
    "AccuracyCounter",
    "Clusters",
    "EvaluationRecord",
    "EvaluationResult",
    "Features",
    "FewShotResult",
    "LinearProbeResult",
    "NothingToDraw",
    "PairedTest",
    "ProbeResult",
    "Protocol",
    "Reliability",
    "Report",
    "RetrievalResult",
    "RidgeProbeResult",
    "RunRecord",
    "SGDProbeResult",
    "Table",
    "WelchTest",
    "accuracy",
    "adjusted_rand_index",
    "alignment",
    "alpha_req",
    "auroc",
    "balanced_accuracy",
    "best_assignment",
    "bootstrap_interval",
    "cluster_accuracy",
    "confusion_matrix",
    "contingency_table",
    "eigenvalues",
    "evaluate_features",
    "few_shot",
    "find_runs",
    "kendall",
    "kmeans",
    "knn",
    "label_free",
    "learning_curves",
    "lidar",
    "linear_probe",
    "mean_interval",
    "nearest_class_mean",
    "nesum",
    "normalized_mutual_information",
    "paired_test",
    "per_class_accuracy",
    "principal_components",
    "rankme",
    "reliability",
    "retrieval",
    "ridge_probe",
    "sgd_probe",
    "spearman",
    "stable_rank",
    "tsne",
    "uniformity",
    "welch_test",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"ssl_eval.{_HOME[name]}"), name)
    raise AttributeError(f"module 'ssl_eval' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
