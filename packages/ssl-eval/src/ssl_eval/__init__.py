"""ssl-eval: evaluation of features, and tables and figures from run folders.

Functions on features take ``(N, D)`` tensors of any model and need only torch. Accuracies are fractions in
0..1; tables and figures print them in percent. Names are loaded when they are first used, so that reading a run
folder does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl_eval.accuracies import AccuracyCounter, accuracy, balanced_accuracy, per_class_accuracy
    from ssl_eval.agreement import adjusted_rand_index, best_assignment, cluster_accuracy, normalized_mutual_information
    from ssl_eval.calibration import Reliability, reliability
    from ssl_eval.class_means import nearest_class_mean
    from ssl_eval.clusters import Clusters, kmeans
    from ssl_eval.confidence import PairedTest, bootstrap_interval, mean_interval, paired_test
    from ssl_eval.confusion import confusion_matrix, contingency_table
    from ssl_eval.embedding_map import principal_components, tsne
    from ssl_eval.evaluation_record import EvaluationRecord
    from ssl_eval.few_labels import FewShotResult, few_shot
    from ssl_eval.figures.curves import learning_curves
    from ssl_eval.figures.style import NothingToDraw
    from ssl_eval.hypersphere import alignment, uniformity
    from ssl_eval.linear import LinearProbeResult, linear_probe
    from ssl_eval.measurements import Features, judge, label_free
    from ssl_eval.neighbours import knn
    from ssl_eval.protocol import Protocol
    from ssl_eval.rank_correlation import kendall, spearman
    from ssl_eval.ranking import RetrievalResult, retrieval
    from ssl_eval.report import Report, write_report
    from ssl_eval.ridge import RidgeProbeResult, ridge_probe
    from ssl_eval.run_record import RunRecord, find_runs
    from ssl_eval.sgd import SGDProbeResult, sgd_probe
    from ssl_eval.spectrum import alpha_req, eigenvalues, lidar, nesum, rankme, stable_rank
    from ssl_eval.table import Table
    from ssl_eval.welch import WelchTest, welch_test

_HOME = {
    "AccuracyCounter": "accuracies",
    "Clusters": "clusters",
    "EvaluationRecord": "evaluation_record",
    "Features": "measurements",
    "FewShotResult": "few_labels",
    "LinearProbeResult": "linear",
    "NothingToDraw": "figures.style",
    "PairedTest": "confidence",
    "Protocol": "protocol",
    "Reliability": "calibration",
    "Report": "report",
    "RetrievalResult": "ranking",
    "RidgeProbeResult": "ridge",
    "RunRecord": "run_record",
    "SGDProbeResult": "sgd",
    "Table": "table",
    "WelchTest": "welch",
    "accuracy": "accuracies",
    "adjusted_rand_index": "agreement",
    "alignment": "hypersphere",
    "alpha_req": "spectrum",
    "balanced_accuracy": "accuracies",
    "best_assignment": "agreement",
    "bootstrap_interval": "confidence",
    "cluster_accuracy": "agreement",
    "confusion_matrix": "confusion",
    "contingency_table": "confusion",
    "eigenvalues": "spectrum",
    "few_shot": "few_labels",
    "find_runs": "run_record",
    "judge": "measurements",
    "kendall": "rank_correlation",
    "kmeans": "clusters",
    "knn": "neighbours",
    "label_free": "measurements",
    "learning_curves": "figures.curves",
    "lidar": "spectrum",
    "linear_probe": "linear",
    "mean_interval": "confidence",
    "nearest_class_mean": "class_means",
    "nesum": "spectrum",
    "normalized_mutual_information": "agreement",
    "paired_test": "confidence",
    "per_class_accuracy": "accuracies",
    "principal_components": "embedding_map",
    "rankme": "spectrum",
    "reliability": "calibration",
    "retrieval": "ranking",
    "ridge_probe": "ridge",
    "sgd_probe": "sgd",
    "spearman": "rank_correlation",
    "stable_rank": "spectrum",
    "tsne": "embedding_map",
    "uniformity": "hypersphere",
    "welch_test": "welch",
    "write_report": "report",
}

__all__ = [
    "AccuracyCounter",
    "Clusters",
    "EvaluationRecord",
    "Features",
    "FewShotResult",
    "LinearProbeResult",
    "NothingToDraw",
    "PairedTest",
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
    "balanced_accuracy",
    "best_assignment",
    "bootstrap_interval",
    "cluster_accuracy",
    "confusion_matrix",
    "contingency_table",
    "eigenvalues",
    "few_shot",
    "find_runs",
    "judge",
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
