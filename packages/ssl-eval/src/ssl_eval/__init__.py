"""Features in, scores out; tables and figures from run folders.

Everything on features takes ``(N, D)`` tensors of anybody's features and needs torch alone. Accuracies are fractions in
0..1 everywhere; tables and figures print them as percent.
"""

from ssl_eval.accuracies import AccuracyCounter, accuracy, per_class_accuracy
from ssl_eval.curves import NothingToDraw, learning_curves
from ssl_eval.few_labels import FewShotResult, few_shot
from ssl_eval.hypersphere import alignment, uniformity
from ssl_eval.linear import LinearProbeResult, linear_probe
from ssl_eval.neighbours import knn
from ssl_eval.report import Report, write_report
from ssl_eval.run_record import RunRecord, find_runs
from ssl_eval.spectrum import alpha_req, eigenvalues, lidar, nesum, rankme, stable_rank
from ssl_eval.table import Table

__all__ = [
    "AccuracyCounter",
    "FewShotResult",
    "LinearProbeResult",
    "NothingToDraw",
    "Report",
    "RunRecord",
    "Table",
    "accuracy",
    "alignment",
    "alpha_req",
    "eigenvalues",
    "few_shot",
    "find_runs",
    "knn",
    "learning_curves",
    "lidar",
    "linear_probe",
    "nesum",
    "per_class_accuracy",
    "rankme",
    "stable_rank",
    "uniformity",
    "write_report",
]
