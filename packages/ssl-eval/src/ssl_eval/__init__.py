"""ssl-eval: evaluation of features, and tables and figures from run folders.

Functions on features take tensors ``(N, D)`` of any model and need only torch. Accuracies are fractions in
0..1; tables and figures print them in percent. Names are loaded when they are first used, so that reading a run
folder does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl_eval.evaluate import EvaluationResult, evaluate_features
    from ssl_eval.features import Features, Tokens
    from ssl_eval.figures.curves import learning_curves
    from ssl_eval.figures.images.attention import attention_figure
    from ssl_eval.figures.images.mistakes import mistakes_figure
    from ssl_eval.figures.images.neighbours import neighbours_figure
    from ssl_eval.figures.images.reconstruction import reconstruction_figure
    from ssl_eval.figures.images.token_colors import token_colors_figure
    from ssl_eval.figures.style import NothingToDraw
    from ssl_eval.metrics.accuracy import AccuracyCounter, accuracy, balanced_accuracy, per_class_accuracy
    from ssl_eval.metrics.auroc import auroc
    from ssl_eval.metrics.average_precision import average_precision
    from ssl_eval.metrics.calibration import Reliability, reliability
    from ssl_eval.metrics.class_subset import matched_classes, subset_scores
    from ssl_eval.metrics.clustering import (
        adjusted_rand_index,
        best_assignment,
        cluster_accuracy,
        normalized_mutual_information,
    )
    from ssl_eval.metrics.confusion import confusion_matrix, contingency_table
    from ssl_eval.metrics.corruption_error import CorruptionErrorResult, corruption_error
    from ssl_eval.metrics.depth import DepthCounter, DepthResult, depth_errors
    from ssl_eval.metrics.iou import IoUCounter, IoUResult, mean_iou
    from ssl_eval.metrics.landmarks import LandmarkResult, landmark_retrieval, read_ground_truth
    from ssl_eval.metrics.ood import OODResult, knn_distance, mahalanobis_distance, ood_detection, ood_separation
    from ssl_eval.metrics.retrieval import RetrievalResult, retrieval
    from ssl_eval.probes.attentive import AttentiveClassifier, AttentiveProbeResult, attentive_probe
    from ssl_eval.probes.dense.depth import DepthProbeResult, depth_probe
    from ssl_eval.probes.dense.knn_segmentation import KNNSegmentationResult, knn_segmentation
    from ssl_eval.probes.dense.segmentation import SegmentationProbeResult, SegmentationResult, segmentation_probe
    from ssl_eval.probes.episodic import EpisodicResult, episodic_few_shot
    from ssl_eval.probes.knn import knn
    from ssl_eval.probes.linear import LinearProbeResult, linear_probe
    from ssl_eval.probes.low_shot import FewShotResult, few_shot
    from ssl_eval.probes.multilabel import MultilabelProbeResult, multilabel_probe
    from ssl_eval.probes.multilayer import MultilayerProbeResult, multilayer_linear_probe
    from ssl_eval.probes.nearest_class_mean import nearest_class_mean
    from ssl_eval.probes.ridge import RidgeProbeResult, ridge_probe
    from ssl_eval.probes.sgd import SGDProbeResult, sgd_probe
    from ssl_eval.probes.zero_shot import ZeroShotResult, zero_shot
    from ssl_eval.protocol import Protocol
    from ssl_eval.report.report import Report, write_report
    from ssl_eval.report.table import Table
    from ssl_eval.representation.alignment_uniformity import alignment, uniformity
    from ssl_eval.representation.kmeans import Clusters, kmeans
    from ssl_eval.representation.label_free import label_free
    from ssl_eval.representation.projection_2d import principal_components, tsne, umap
    from ssl_eval.representation.similarity import (
        linear_cka,
        mutual_knn,
        procrustes_similarity,
        similarity_matrix,
    )
    from ssl_eval.representation.spectrum import alpha_req, eigenvalues, lidar, nesum, rankme, stable_rank
    from ssl_eval.representation.token_clusters import token_clusters
    from ssl_eval.representation.token_colors import token_colors
    from ssl_eval.results import ProbeResult
    from ssl_eval.runs.evaluation_record import EvaluationRecord
    from ssl_eval.runs.run_record import RunRecord, find_runs
    from ssl_eval.statistics.intervals import PairedTest, bootstrap_interval, mean_interval, paired_test
    from ssl_eval.statistics.rank_correlation import kendall, spearman
    from ssl_eval.statistics.significance import WelchTest, welch_test

_NAMES = {  # module -> what it offers here
    "evaluate": "EvaluationResult evaluate_features",
    "features": "Features Tokens",
    "figures.images.attention": "attention_figure",
    "figures.curves": "learning_curves",
    "figures.images.mistakes": "mistakes_figure",
    "figures.images.neighbours": "neighbours_figure",
    "figures.images.reconstruction": "reconstruction_figure",
    "figures.style": "NothingToDraw",
    "figures.images.token_colors": "token_colors_figure",
    "metrics.accuracy": "AccuracyCounter accuracy balanced_accuracy per_class_accuracy",
    "metrics.auroc": "auroc",
    "metrics.average_precision": "average_precision",
    "metrics.calibration": "Reliability reliability",
    "metrics.class_subset": "matched_classes subset_scores",
    "metrics.clustering": "adjusted_rand_index best_assignment cluster_accuracy normalized_mutual_information",
    "metrics.confusion": "confusion_matrix contingency_table",
    "metrics.corruption_error": "CorruptionErrorResult corruption_error",
    "metrics.depth": "DepthCounter DepthResult depth_errors",
    "metrics.iou": "IoUCounter IoUResult mean_iou",
    "metrics.landmarks": "LandmarkResult landmark_retrieval read_ground_truth",
    "metrics.ood": "OODResult knn_distance mahalanobis_distance ood_detection ood_separation",
    "metrics.retrieval": "RetrievalResult retrieval",
    "probes.attentive": "AttentiveClassifier AttentiveProbeResult attentive_probe",
    "probes.dense.depth": "DepthProbeResult depth_probe",
    "probes.dense.knn_segmentation": "KNNSegmentationResult knn_segmentation",
    "probes.dense.segmentation": "SegmentationProbeResult SegmentationResult segmentation_probe",
    "probes.episodic": "EpisodicResult episodic_few_shot",
    "probes.knn": "knn",
    "probes.linear": "LinearProbeResult linear_probe",
    "probes.low_shot": "FewShotResult few_shot",
    "probes.multilabel": "MultilabelProbeResult multilabel_probe",
    "probes.multilayer": "MultilayerProbeResult multilayer_linear_probe",
    "probes.nearest_class_mean": "nearest_class_mean",
    "probes.ridge": "RidgeProbeResult ridge_probe",
    "probes.sgd": "SGDProbeResult sgd_probe",
    "probes.zero_shot": "ZeroShotResult zero_shot",
    "protocol": "Protocol",
    "report.report": "Report write_report",
    "report.table": "Table",
    "representation.alignment_uniformity": "alignment uniformity",
    "representation.kmeans": "Clusters kmeans",
    "representation.label_free": "label_free",
    "representation.projection_2d": "principal_components tsne umap",
    "representation.similarity": "linear_cka mutual_knn procrustes_similarity similarity_matrix",
    "representation.spectrum": "alpha_req eigenvalues lidar nesum rankme stable_rank",
    "representation.token_clusters": "token_clusters",
    "representation.token_colors": "token_colors",
    "results": "ProbeResult",
    "runs.evaluation_record": "EvaluationRecord",
    "runs.run_record": "RunRecord find_runs",
    "statistics.intervals": "PairedTest bootstrap_interval mean_interval paired_test",
    "statistics.rank_correlation": "kendall spearman",
    "statistics.significance": "WelchTest welch_test",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "AccuracyCounter", "AttentiveClassifier", "AttentiveProbeResult", "Clusters", "CorruptionErrorResult", "DepthCounter",
    "DepthProbeResult", "DepthResult", "EpisodicResult", "EvaluationRecord", "EvaluationResult", "Features", "FewShotResult",
    "IoUCounter", "IoUResult", "KNNSegmentationResult", "LandmarkResult", "LinearProbeResult", "MultilabelProbeResult",
    "MultilayerProbeResult", "NothingToDraw", "OODResult", "PairedTest", "ProbeResult", "Protocol", "Reliability", "Report",
    "RetrievalResult", "RidgeProbeResult", "RunRecord", "SGDProbeResult", "SegmentationProbeResult", "SegmentationResult",
    "Table", "Tokens", "WelchTest", "ZeroShotResult", "accuracy", "adjusted_rand_index", "alignment", "alpha_req",
    "attention_figure", "attentive_probe", "auroc", "average_precision", "balanced_accuracy", "best_assignment",
    "bootstrap_interval", "cluster_accuracy", "confusion_matrix", "contingency_table", "corruption_error", "depth_errors",
    "depth_probe", "eigenvalues", "episodic_few_shot", "evaluate_features", "few_shot", "find_runs", "kendall", "kmeans", "knn",
    "knn_distance", "knn_segmentation", "label_free", "landmark_retrieval", "learning_curves", "lidar", "linear_cka",
    "linear_probe", "mahalanobis_distance", "matched_classes", "mean_interval", "mean_iou", "mistakes_figure",
    "multilabel_probe", "multilayer_linear_probe", "mutual_knn", "nearest_class_mean", "neighbours_figure", "nesum",
    "normalized_mutual_information", "ood_detection", "ood_separation", "paired_test", "per_class_accuracy",
    "principal_components", "procrustes_similarity", "rankme", "read_ground_truth", "reconstruction_figure", "reliability",
    "retrieval", "ridge_probe", "segmentation_probe", "sgd_probe", "similarity_matrix", "spearman", "stable_rank",
    "subset_scores", "token_clusters", "token_colors", "token_colors_figure", "tsne", "umap", "uniformity", "welch_test",
    "write_report", "zero_shot",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"ssl_eval.{_HOME[name]}"), name)
    raise AttributeError(f"module 'ssl_eval' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
