"""Features of very large, very small and very uneven scale: every function is exact, or names the row and its size."""

import inspect
import math

import pytest
import torch

import ssl_eval
from ssl_eval import kmeans, knn, linear_probe, ridge_probe, tsne

OUTLIER = 1e20


def halves(features):
    return features[::2], LABELS[::2], features[1::2], LABELS[1::2]


LABELS = torch.arange(120) // 2 % 3
LANDMARK = {"easy": [0, 1], "hard": [2, 3, 4], "junk": [5]}  # positions in a gallery
TARGETS = torch.nn.functional.one_hot(LABELS)
PROTOCOL = ssl_eval.Protocol(
    knn=[5], few=[4], draws=2, sgd=True, ridge=True, class_means=True, retrieval=[1], map_samples=0
)


def linear_of(result):
    """The accuracy of the linear probe; raises the reason where it was omitted."""
    if "linear" in result.omitted:
        raise ValueError(result.omitted["linear"])
    return result.metrics["linear"]


FUNCTIONS = {
    "knn": lambda x: knn(*halves(x)[:3], k=5),
    "linear_probe": lambda x: linear_probe(*halves(x)).scores,
    "ridge_probe": lambda x: ridge_probe(*halves(x)).scores,
    "sgd_probe": lambda x: ssl_eval.sgd_probe(*halves(x), epochs=3).scores,
    "few_shot": lambda x: ssl_eval.few_shot(*halves(x), draws=2, labels_per_class=4).mean,
    "zero_shot": lambda x: ssl_eval.zero_shot(x, LABELS, x[[0, 2, 4]]).accuracy,
    "landmark_retrieval": lambda x: ssl_eval.landmark_retrieval(x[:3], x[3:], [LANDMARK] * 3).mean_average_precision[
        "hard"
    ],
    "nearest_class_mean": lambda x: ssl_eval.nearest_class_mean(*halves(x)[:3]),
    "kmeans": lambda x: kmeans(x, 4, restarts=2).inertia,
    "multilabel_probe": lambda x: ssl_eval.multilabel_probe(x[::2], TARGETS[::2], x[1::2], TARGETS[1::2]).scores,
    "retrieval": lambda x: ssl_eval.retrieval(x, LABELS).mean_average_precision,
    "linear_cka": lambda x: ssl_eval.linear_cka(x[::2], x[1::2]),
    "mutual_knn": lambda x: ssl_eval.mutual_knn(x[::2], x[1::2]),
    "procrustes_similarity": lambda x: ssl_eval.procrustes_similarity(x[::2], x[1::2]),
    "episodic_few_shot": lambda x: ssl_eval.episodic_few_shot(x, LABELS, 3, 2, episodes=9).mean,
    "ood_detection": lambda x: [each.auroc for each in ssl_eval.ood_detection(*halves(x)[:3], -x, k=5).values()],
    "knn_distance": lambda x: ssl_eval.knn_distance(x[::2], x[1::2], k=5),
    "mahalanobis_distance": lambda x: ssl_eval.mahalanobis_distance(*halves(x)[:3]),
    "alignment": lambda x: ssl_eval.alignment(x[::2], x[1::2]),
    "uniformity": ssl_eval.uniformity,
    "eigenvalues": lambda x: ssl_eval.eigenvalues(x)[:1],  # rounding is relative to the largest
    "rankme": ssl_eval.rankme,
    "stable_rank": ssl_eval.stable_rank,
    "nesum": ssl_eval.nesum,
    "alpha_req": lambda x: ssl_eval.alpha_req(x, 1, 6),
    "lidar": lambda x: ssl_eval.lidar(x.unflatten(0, (60, 2)), delta=1e-3 * float(x.square().double().mean())),
    "principal_components": lambda x: ssl_eval.principal_components(x, 1),
    "tsne": lambda x: keeps_classes(tsne(x, perplexity=10, iterations=250)),  # the descent is chaotic
    "evaluate_features": lambda x: linear_of(ssl_eval.evaluate_features(ssl_eval.Features(*halves(x)), PROTOCOL)),
    "label_free": lambda x: list(ssl_eval.label_free(x, x.unflatten(0, (60, 2))).values()),
    # the Euclidean twins of those above
    "knn, euclidean": lambda x: knn(*halves(x)[:3], k=5, metric="euclidean", temperature=math.inf),
    "nearest_class_mean, euclidean": lambda x: ssl_eval.nearest_class_mean(*halves(x)[:3], metric="euclidean"),
}
NEED_EVEN_ROWS = {
    "linear_probe",
    "ridge_probe",
    "sgd_probe",
    "few_shot",
    "ood_detection",
    "lidar",
    "evaluate_features",
    "label_free",
    "tsne",
    "multilabel_probe",
}
TAKE_NO_FEATURES = {
    "accuracy", "adjusted_rand_index", "attentive_probe", "auroc", "average_precision", "balanced_accuracy", "best_assignment",
    "bootstrap_interval", "corruption_error", "matched_classes", "subset_scores",
    "cluster_accuracy", "confusion_matrix", "contingency_table", "find_runs", "kendall", "learning_curves", "mean_interval",
    "multilayer_linear_probe", "attention_figure", "depth_errors", "depth_probe", "knn_segmentation", "mean_iou",
    "mistakes_figure", "neighbours_figure", "read_ground_truth", "reconstruction_figure", "segmentation_probe",
    "token_clusters", "token_colors", "token_colors_figure", "umap",
    "normalized_mutual_information", "ood_separation", "paired_test", "per_class_accuracy", "reliability", "similarity_matrix",
    "spearman", "welch_test", "write_report",
}  # fmt: skip


def keeps_classes(points):
    """Return 1 if more than half of the three nearest neighbours have the same label (a third by chance), else NaN."""
    nearest = torch.cdist(points, points).topk(4, largest=False).indices[:, 1:]
    return 1.0 if (LABELS[nearest] == LABELS[:, None]).double().mean() > 0.5 else float("nan")


def features_of(case):
    centres = 3 * torch.nn.functional.one_hot(LABELS, 8)
    features = (torch.randn(120, 8, generator=torch.Generator().manual_seed(0)) + centres).float()
    if case == "outlier":
        features[6] *= OUTLIER  # in the training half
        return features
    return features * case


def test_table_has_every_function_on_features():
    functions = {name for name in ssl_eval.__all__ if inspect.isfunction(getattr(ssl_eval, name))}
    assert functions - TAKE_NO_FEATURES == {name for name in FUNCTIONS if "," not in name}


@pytest.mark.filterwarnings("ignore:linear_probe stopped")
@pytest.mark.parametrize("case", [1e18, 1e-18, "outlier"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32_equals_float64_or_names_the_row(name, case):
    features = features_of(case)
    if case == "outlier" and name in NEED_EVEN_ROWS:
        with pytest.raises(ValueError, match=r"got \d\.\d+e\+20 as the largest value of row [36] and \d\.\d+ in"):
            FUNCTIONS[name](features)
        return
    found = FUNCTIONS[name](features)
    expected = FUNCTIONS[name](features.double())
    expected, found = (torch.as_tensor(value, dtype=torch.float64) for value in (expected, found))
    assert bool(torch.isfinite(found).all())
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6 * float(expected.abs().max()))


@pytest.mark.parametrize(
    "name", ["knn", "linear_probe", "ridge_probe", "few_shot", "retrieval", "rankme", "uniformity"]
)
@pytest.mark.parametrize("scale", [1e18, 1e-18])
def test_scale_changes_no_result(name, scale):
    features = features_of(1.0).double()
    found, expected = (
        torch.as_tensor(FUNCTIONS[name](each)).double() for each in ((features * scale).float(), features)
    )
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("scale", "size"), [(1e200, r"e\+200"), (1e-200, "e-200")])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_overflow_of_float64_is_named(name, scale, size):
    with pytest.raises(ValueError, match=rf"must be between 1e-120 and 1e120.*{size} in row \d+"):
        FUNCTIONS[name](features_of(1.0).double() * scale)


@pytest.mark.parametrize("place", [0, 30])
def test_outlier_does_not_change_the_other_neighbours(place):
    train, labels, test, _ = halves(features_of(1.0))
    without = knn(train, labels, test, k=5, metric="euclidean")
    outlier = OUTLIER * torch.ones(1, 8)
    more = torch.cat([train[:place], outlier, train[place:]])
    more_labels = torch.cat([labels[:place], torch.tensor([2]), labels[place:]])
    torch.testing.assert_close(knn(more, more_labels, test, k=5, metric="euclidean"), without, rtol=1e-4, atol=1e-6)


def test_outlier_is_a_separate_cluster():
    features = features_of(1.0)
    clean = kmeans(features, 3)
    found = kmeans(torch.cat([features, OUTLIER * torch.ones(1, 8)]), 4)
    assert found.inertia == pytest.approx(clean.inertia, rel=1e-3)
    assert int((found.assignments == found.assignments[-1]).sum()) == 1


def test_row_of_another_scale_keeps_its_direction():
    train, labels, test, _ = halves(features_of(1.0))
    votes = knn(train, labels, test, k=5)
    test[3] *= 1e-18
    torch.testing.assert_close(knn(train, labels, test, k=5), votes)
